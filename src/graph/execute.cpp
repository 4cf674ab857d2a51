// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "graph/plan.hpp"
#include "tensor/combine.hpp"

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

std::byte* Executor::address(ValueId id, std::int64_t shard) const {
  if (id == kNoValue) return nullptr;
  const Placement& p = plan_.placement(id);
  const auto at = [&](const void* base, std::size_t offset) -> std::byte* {
    if (base == nullptr) return nullptr;
    return static_cast<std::byte*>(const_cast<void*>(base)) + offset +
           static_cast<std::size_t>(shard) * plan_.shard_stride(id);
  };
  switch (p.storage) {
    case Storage::kFeed: return at(feeds_[p.offset], 0);
    case Storage::kActivations: return at(bound_arena_, p.offset);
    case Storage::kParameters: return at(parameters_.parameters().data, p.offset);
    case Storage::kParameterCopies: return at(parameters_.copies().data, p.offset);
    case Storage::kStates: return at(parameters_.states().data, p.offset);
    case Storage::kGradients: return at(gradients_.data, p.offset);
    case Storage::kNone: return nullptr;
  }
  return nullptr;
}

Executor::Operands Executor::operands(const PlannedStep& step, std::int64_t shard) const {
  const Node& node = plan_.graph().nodes()[static_cast<std::size_t>(step.node)];
  Operands all;
  for (ValueId id : node.inputs)
    all.in.push_back(id == kNoValue
                         ? ConstTensorView{}
                         : ConstTensorView{address(id, shard), plan_.graph().value(id).type});
  for (ValueId id : node.outputs)
    all.out.push_back(id == kNoValue
                          ? TensorView{}
                          : TensorView{address(id, shard), plan_.graph().value(id).type});
  for (const ShardSum& sum : step.sums) {
    if (sum.state == kNoValue) continue;
    const auto in = std::ranges::find(node.inputs, sum.state) - node.inputs.begin();
    all.in[static_cast<std::size_t>(in)].data = all.out[sum.output].data;  // a copy of its own
  }
  return all;
}

// Views are made once; only a feed or a grown arena makes them anew.
void Executor::bind() {
  bound_arena_ = arena_.reserve(plan_.arena_bytes());
  operands_.resize(plan_.steps().size());
  for (std::size_t s = 0; s < plan_.steps().size(); ++s) {
    operands_[s].clear();
    for (std::int64_t shard = 0; shard < std::max<std::int64_t>(plan_.shards(), 1); ++shard)
      operands_[s].push_back(operands(plan_.steps()[s], shard));
  }
}

TensorType Executor::fed_type(ValueId input) const {
  TensorType type = plan_.graph().value(input).type;
  if (plan_.shard_stride(input) > 0)
    type.shape = type.shape.with(0, type.shape[0] * plan_.shards());
  return type;
}

TensorType Executor::input_type(std::string_view input) const {
  return fed_type(plan_.graph().input(input));
}

void Executor::feed(std::string_view input, ConstTensorView data) {
  const ValueId id = plan_.graph().input(input);
  const TensorType expected = fed_type(id);
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
    for (std::size_t shard = 0; shard < operands_[s].size(); ++shard) {
      Operands& all = operands_[s][shard];
      for (std::size_t i = 0; i < node.inputs.size(); ++i)
        if (moves(node.inputs[i]))
          all.in[i].data = address(node.inputs[i], static_cast<std::int64_t>(shard));
      for (std::size_t i = 0; i < node.outputs.size(); ++i)
        if (moves(node.outputs[i]))
          all.out[i].data = address(node.outputs[i], static_cast<std::int64_t>(shard));
    }
  }
}

void Executor::run_step(const PlannedStep& step, std::span<const Operands> shards,
                        OpContext& ctx) const {
  if (plan_.shards() == 0) {
    step.kernel(ctx, shards[0].in, shards[0].out);
    return;
  }
  if (step.shards_kernel != nullptr) {
    std::vector<Inputs> in;
    std::vector<Outputs> out;
    for (const Operands& all : shards) {
      in.emplace_back(all.in);
      out.emplace_back(all.out);
    }
    step.shards_kernel(ctx, in, out);
    return;
  }
  const std::uint64_t first_row = ctx.random.first_row;
  const auto rows = static_cast<std::uint64_t>(plan_.graph().value(plan_.feeds()[0]).type.shape[0]);
  for (std::size_t shard = 0; shard < shards.size(); ++shard) {
    const Operands& all = shards[shard];
    for (const ShardSum& sum : step.sums)
      if (sum.state != kNoValue)
        copy({address(sum.state, 0), all.out[sum.output].type}, all.out[sum.output], ctx.stream);
    ctx.random.first_row = first_row + shard * rows;
    step.kernel(ctx, all.in, all.out);
  }
  sum_shards(step, shards);
}

void Executor::sum_shards(const PlannedStep& step, std::span<const Operands> shards) const {
  std::vector<const void*> parts;
  for (const ShardSum& sum : step.sums) {
    parts.clear();
    for (const Operands& all : shards) parts.push_back(all.out[sum.output].data);
    const TensorType& type = shards[0].out[sum.output].type;
    combine(ReduceOp::kSum, type.dtype, parts, gradients_.as<std::byte>() + sum.offset,
            type.shape.numel(), stream_);
  }
}

void Executor::run(const RunOptions& options) {
  require(plan_.shards() == 0 || !options.accumulate, "a run over shards cannot accumulate");
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
          .parameter_version = options.parameter_version,
          .packed = &parameters_.packed(),
          .random_place = options.random_place};
      ctx.random.node = node.random_index;
      if (options.on_node) options.on_node(node);
      const bool is_timed = !seconds_.empty() || options.on_node_done;
      const auto begin =
          is_timed ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
      run_step(step, operands_[s], ctx);
      if (!seconds_.empty())
        seconds_[s] +=
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (options.on_node_done) options.on_node_done(node, begin);
    }
    if (node.op->collective && !node.backward && options.collective)
      options.collective(operands_[s][0].out[0]);
    if (step.gradients_final > final_elements && options.on_gradients_final) {
      final_elements = step.gradients_final;
      options.on_gradients_final(final_elements);
    }
  }
}

ConstTensorView Executor::output(std::string_view name, std::int64_t shard) const {
  const ValueId id = plan_.graph().output(name);
  return {address(id, shard), plan_.graph().value(id).type};
}

}  // namespace phalanx
