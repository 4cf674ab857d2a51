// SPDX-License-Identifier: Apache-2.0
#include "models/network.hpp"

#include <algorithm>

#include "device/backend.hpp"

namespace phalanx {

Network::Network(NetworkOptions options, std::int64_t batch, Stream& stream, Communicator* comm)
    : options_(std::move(options)), stream_(stream), arena_(stream, "activations") {
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->options.tf32 = options_.precision == "tf32";
  const Graph graph = lower(options_.training ? Mode::kTraining : Mode::kInference,
                            std::max<std::int64_t>(batch, 1));
  ParameterLayout parameters(graph);
  const auto bytes = static_cast<std::size_t>(parameters.parameter_elements()) * sizeof(float);
  std::byte* shared = comm != nullptr && comm->size() > 1 && options_.gathers_parameters
                          ? comm->allocate(bytes, stream)
                          : nullptr;
  parameters_ = std::make_unique<ParameterSet>(std::move(parameters), stream, shared);
  if (!options_.training) return;
  const ParameterLayout& layout = parameters_->layout();
  const std::int64_t states = options_.sums_states ? layout.state_elements() : 0;
  const TensorType type(DType::kF32, Shape{layout.parameter_elements() + states + kTail});
  if (comm != nullptr && comm->size() > 1) {
    gradients_ = {comm->allocate(type.size_bytes(), stream), type};
    return;
  }
  own_gradients_ = Tensor(type, stream, "gradients");
  gradients_ = own_gradients_.view();
  fill_zero(gradients_, stream);
}

Graph Network::lower(Mode mode, std::int64_t batch) {
  Graph graph = build_model(options_.model, batch);
  if (mode == Mode::kInference)
    attach_logits(graph, options_.loss);
  else
    attach_loss(graph, options_.loss);
  if (mode == Mode::kTraining) {
    Graph wanted = graph;
    wanted.drop_output("y");
    graph = prune_unused(wanted);
  } else {
    graph = for_inference(graph);
    if (options_.folds_batch_norm) {
      FoldedGraph folded = fold_batch_norm(graph);
      graph = std::move(folded.graph);
      folds_ = std::move(folded.folds);
    }
  }
  if (options_.columns.size() > 0) {
    ColumnSplit split = split_columns(graph, options_.columns.begin, options_.columns.end);
    graph = std::move(split.graph);
    cut_weight_ = split.weight;
  }
  graph = pool_before_relu(graph);
  const bool on_gpu = stream_.device().kind == DeviceKind::kCuda;
  if (on_gpu || mode == Mode::kInference) graph = fuse_activation(graph);
  if (on_gpu) graph = fuse_unary_chains(graph);
  if (options_.precision == "bf16") graph = lower_precision(graph);
  graph = choose_layouts(graph, stream_.device());
  if (mode != Mode::kTraining) return graph;
  if (!on_gpu || options_.loss != "softmax_cross_entropy") return differentiate(graph, "loss");
  graph.drop_output("correct");  // the fused operator counts
  return fuse_loss_gradient(differentiate(prune_unused(graph), "loss"));
}

void Network::initialise(std::uint64_t seed) {
  parameters_->initialise(seed);
  if (cut_weight_.empty()) return;
  const TensorView part = parameters_->parameter(cut_weight_);
  const std::int64_t rows = part.shape()[0], total = options_.model.sample.numel();
  ParameterSlot whole = parameters_->layout().parameter(cut_weight_);
  whole.shape = Shape{rows, total};
  std::vector<float> values(static_cast<std::size_t>(rows * total));
  initialise_array(whole, seed, values.data());
  std::vector<float> mine;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = values.data() + r * total + options_.columns.begin;
    mine.insert(mine.end(), row, row + options_.columns.size());
  }
  upload({mine.data(), part.type}, part, stream_);
}

Executor& Network::executor(Mode mode, std::int64_t batch, std::int64_t shards) {
  std::unique_ptr<Executor>& found = executors_[{mode, batch, shards}];
  if (!found)
    found = std::make_unique<Executor>(
        Plan(lower(mode, batch), parameters_->layout(), stream_.device(), shards), *parameters_,
        gradients_, arena_, stream_);
  return *found;
}

Executor& Network::training(std::int64_t batch, std::int64_t shards) {
  require(options_.training, "this network was made without gradients");
  require(shards == 0 || options_.sums_states, "this network was made without sums of states");
  return executor(Mode::kTraining, batch, shards);
}
void Network::release_training() {
  options_.training = false;
  std::erase_if(executors_,
                [](const auto& e) { return std::get<Mode>(e.first) == Mode::kTraining; });
  if (gradients_.data == own_gradients_.view().data) gradients_ = {};
  own_gradients_ = Tensor();
}

Executor& Network::evaluation(std::int64_t batch) { return executor(Mode::kEvaluation, batch); }
Executor& Network::inference(std::int64_t batch) { return executor(Mode::kInference, batch); }

}  // namespace phalanx
