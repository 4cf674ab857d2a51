// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "graph/plan.hpp"

namespace phalanx {

Executor::Executor(Plan plan, ParameterSet& parameters, TensorView gradients, Workspace& arena,
                   Stream& stream)
    : plan_(std::move(plan)),
      parameters_(parameters),
      gradients_(gradients),
      arena_(arena),
      stream_(stream),
      feeds_(plan_.feeds().size(), nullptr) {
  for (const Value& v : plan_.graph().values())
    has_copies_ = has_copies_ || v.kind == ValueKind::kParameterCopy;
  if (has_copies_) parameters_.keep_copies(stream_);
  arena_.reserve(plan_.arena_bytes());
  bind();
}

std::byte* Executor::address(ValueId id) const {
  if (id == kNoValue) return nullptr;
  const Placement& p = plan_.placement(id);
  switch (p.storage) {
    case Storage::kFeed: return static_cast<std::byte*>(const_cast<void*>(feeds_[p.offset]));
    case Storage::kActivations: return bound_arena_ + p.offset;
    case Storage::kParameters:
      return static_cast<std::byte*>(parameters_.parameters().data) + p.offset;
    case Storage::kParameterCopies:
      return static_cast<std::byte*>(parameters_.copies().data) + p.offset;
    case Storage::kStates: return static_cast<std::byte*>(parameters_.states().data) + p.offset;
    case Storage::kGradients:
      return gradients_ ? static_cast<std::byte*>(gradients_.data) + p.offset : nullptr;
    case Storage::kNone: return nullptr;
  }
  return nullptr;
}

// Views are made once; only a feed or a grown arena makes them anew.
void Executor::bind() {
  bound_arena_ = arena_.reserve(plan_.arena_bytes());
  inputs_.resize(plan_.steps().size());
  outputs_.resize(plan_.steps().size());
  for (std::size_t s = 0; s < plan_.steps().size(); ++s) {
    const Node& node = plan_.graph().nodes()[static_cast<std::size_t>(plan_.steps()[s].node)];
    inputs_[s].clear();
    outputs_[s].clear();
    for (ValueId id : node.inputs)
      inputs_[s].push_back(id == kNoValue
                               ? ConstTensorView{}
                               : ConstTensorView{address(id), plan_.graph().value(id).type});
    for (ValueId id : node.outputs)
      outputs_[s].push_back(id == kNoValue ? TensorView{}
                                           : TensorView{address(id), plan_.graph().value(id).type});
  }
}

void Executor::feed(std::string_view input, ConstTensorView data) {
  const ValueId id = plan_.graph().input(input);
  const TensorType& expected = plan_.graph().value(id).type;
  if (!(expected == data.type))
    throw InvalidArgument(
        fmt::format("input '{}' must be {}, found {}", input, expected.str(), data.type.str()));
  const void*& slot = feeds_[plan_.placement(id).offset];
  if (slot == data.data) return;
  slot = data.data;
  // A view of an input lives in the input's memory too, so every operand placed there moves along.
  for (std::size_t s = 0; s < plan_.steps().size(); ++s) {
    const Node& node = plan_.graph().nodes()[static_cast<std::size_t>(plan_.steps()[s].node)];
    const auto moves = [&](ValueId v) {
      return v != kNoValue && plan_.placement(v).storage == Storage::kFeed &&
             plan_.placement(v).offset == plan_.placement(id).offset;
    };
    for (std::size_t i = 0; i < node.inputs.size(); ++i)
      if (moves(node.inputs[i])) inputs_[s][i].data = data.data;
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      if (moves(node.outputs[i])) outputs_[s][i].data = const_cast<void*>(data.data);
  }
}

void Executor::run(const RunOptions& options) {
  if (arena_.reserve(plan_.arena_bytes()) != bound_arena_) bind();
  for (std::size_t i = 0; i < feeds_.size(); ++i)
    if (feeds_[i] == nullptr && plan_.graph().value(plan_.feeds()[i]).type.shape.numel() > 0)
      throw InvalidArgument(
          fmt::format("input '{}' was not fed", plan_.graph().value(plan_.feeds()[i]).name));
  if (has_copies_) parameters_.refresh_copies(options.parameter_version, stream_);
  std::int64_t final_elements = 0;
  for (std::size_t s = 0; s < plan_.steps().size(); ++s) {
    const PlannedStep& step = plan_.steps()[s];
    const Node& node = plan_.graph().nodes()[static_cast<std::size_t>(step.node)];
    if (step.kernel != nullptr) {
      const std::size_t workspace_bytes = step.state ? step.state->workspace_bytes() : 0;
      OpContext ctx{
          .stream = stream_,
          .attributes = node.attributes,
          .workspace = {bound_arena_ + step.workspace_offset, workspace_bytes},
          .state = step.state.get(),
          .random = options.random,
          .accumulate = node.accumulate | (options.accumulate ? step.parameter_gradients : 0u),
          .parameter_version = options.parameter_version};
      ctx.random.node = node.random_index;
      const auto begin = seconds_.empty() ? std::chrono::steady_clock::time_point()
                                          : std::chrono::steady_clock::now();
      step.kernel(ctx, inputs_[s], outputs_[s]);
      if (!seconds_.empty())
        seconds_[s] +=
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    if (node.op->collective && !node.backward && options.collective)
      options.collective(outputs_[s][0]);
    if (step.gradients_final > final_elements && options.on_gradients_final) {
      final_elements = step.gradients_final;
      options.on_gradients_final(final_elements);
    }
  }
}

ConstTensorView Executor::output(std::string_view name) const {
  const ValueId id = plan_.graph().output(name);
  return {address(id), plan_.graph().value(id).type};
}

}  // namespace phalanx
