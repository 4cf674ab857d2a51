// SPDX-License-Identifier: Apache-2.0
#include "graph/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace phalanx {
namespace {

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

/// A piece of the arena: values that share memory, or a workspace.
struct Block {
  std::size_t size_bytes = 0;
  std::size_t first = kNever;  // step that writes it
  std::size_t last = 0;        // last step that reads it
  std::size_t offset = 0;
};

}  // namespace

class Planner {
 public:
  Planner(Plan& plan, const ParameterLayout& layout, Device device)
      : plan_(plan),
        graph_(plan.graph_),
        layout_(layout),
        device_(device),
        with_shards_(plan.shards_ > 0) {}

  void run() {
    plan_.placements_.resize(graph_.values().size());
    if (with_shards_) find_shard_gradients();
    place_fixed_values();
    find_last_uses();
    prepare_steps();
    share_memory();
    find_strides();
    pack();
    find_final_gradients();
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  void place_fixed_values() {
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      const Value& v = graph_.values()[i];
      Placement& p = plan_.placements_[i];
      switch (v.kind) {
        case ValueKind::kInput:
          p = {Storage::kFeed, plan_.feeds_.size()};
          plan_.feeds_.push_back(static_cast<ValueId>(i));
          break;
        case ValueKind::kParameter:
          p = {Storage::kParameters, bytes(layout_.parameter(v.name))};
          break;
        case ValueKind::kParameterCopy:
          p = {Storage::kParameterCopies, bytes(slot_of(v)) / sizeof(float) * sizeof(Bf16)};
          break;
        case ValueKind::kState: p = {Storage::kStates, bytes(layout_.state(v.name))}; break;
        case ValueKind::kParameterGradient:
          p = is_of_shard(i) ? Placement{Storage::kActivations, 0}
                             : Placement{Storage::kGradients, bytes(slot_of(v))};
          break;
        case ValueKind::kComputed: p = {Storage::kActivations, 0}; break;
      }
    }
  }

  const ParameterSlot& slot_of(const Value& v) const {
    return layout_.parameter(graph_.value(v.parameter).name);
  }
  static std::size_t bytes(const ParameterSlot& slot) {
    return static_cast<std::size_t>(slot.offset) * sizeof(float);
  }

  // --- shards

  /// Finds the parameter gradients that every shard makes for itself, and says where their sums go.
  void find_shard_gradients() {
    of_shard_.assign(graph_.values().size(), false);
    for (const Node& node : graph_.nodes()) {
      if (node.accumulate != 0)
        throw Unsupported(fmt::format(
            "layer '{}': with virtual shards a parameter can be used only once", node.name));
      if (node.op->collective)
        throw Unsupported(
            fmt::format("layer '{}': no sums over ranks inside of a virtual shard", node.name));
      shard_states_.push_back(prepare_shards(node));
      if (!node.backward || shard_states_.back()) continue;
      for (ValueId out : node.outputs)
        if (out != kNoValue && graph_.value(out).kind == ValueKind::kParameterGradient)
          of_shard_[index(out)] = true;
    }
  }
  /// The state for a kernel that takes all shards at once; null where they are taken one by one.
  std::unique_ptr<OpState> prepare_shards(const Node& node) const {
    const DeviceKernels& kernels = kernels_for(*node.op, device_);
    const Prepare prepare =
        node.backward ? kernels.prepare_backward_shards : kernels.prepare_forward_shards;
    const std::size_t inputs = node.backward ? node.outputs.size() : node.inputs.size();
    for (std::size_t i = 0; i < inputs; ++i) {
      if (node.inputs[i] == kNoValue || (node.op->parameter_inputs >> i & 1u) == 0) continue;
      const ValueKind kind = graph_.value(node.inputs[i]).kind;
      if (kind != ValueKind::kParameter && kind != ValueKind::kParameterCopy) return nullptr;
    }
    return prepare != nullptr ? prepare_state(prepare, node) : nullptr;
  }

  bool is_of_shard(std::size_t value) const { return with_shards_ && of_shard_[value]; }

  /// Whether a value that no other lends its memory has a piece of the activation arena.
  bool lives_in_arena(std::size_t value) const {
    return graph_.values()[value].kind == ValueKind::kComputed || is_of_shard(value);
  }

  void add_shard_sums(PlannedStep& step, const Node& node) {
    for (std::size_t i = 0; i < node.outputs.size(); ++i)
      if (node.outputs[i] != kNoValue && is_of_shard(index(node.outputs[i])))
        step.sums.push_back({i, bytes(slot_of(graph_.value(node.outputs[i])))});
    if (node.backward) return;
    for (const AliasRule& rule : node.op->aliases) {
      const auto out = static_cast<std::size_t>(rule.output),
                 in = static_cast<std::size_t>(rule.input);
      if (rule.kind != AliasKind::kUpdate || out >= node.outputs.size()) continue;
      const ParameterSlot& slot = layout_.state(graph_.value(node.inputs[in]).name);
      step.sums.push_back(
          {out,
           static_cast<std::size_t>(layout_.parameter_elements() + slot.offset) * sizeof(float),
           node.inputs[in]});
    }
  }

  void find_strides() {
    plan_.strides_.assign(graph_.values().size(), 0);
    if (!with_shards_) return;
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      const std::size_t r = root(i);
      const TensorType& type = graph_.values()[r].type;
      if (lives_in_arena(r))
        plan_.strides_[i] = align_up(type.size_bytes());
      else if (graph_.values()[r].kind == ValueKind::kInput && type.shape.rank() > 0)
        plan_.strides_[i] = type.size_bytes();
    }
  }

  std::size_t bytes_in_arena(ValueId id) const {
    const std::size_t bytes = align_up(graph_.value(id).type.size_bytes());
    return with_shards_ ? bytes * static_cast<std::size_t>(plan_.shards_) : bytes;
  }

  void find_last_uses() {
    last_use_.assign(graph_.values().size(), 0);
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s)
      for (ValueId in : graph_.nodes()[s].inputs)
        if (in != kNoValue) last_use_[index(in)] = s;
    for (const auto& [name, id] : graph_.outputs()) last_use_[index(id)] = kNever;
  }

  void prepare_steps() {
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s) {
      const Node& node = graph_.nodes()[s];
      const DeviceKernels& kernels = kernels_for(*node.op, device_);
      PlannedStep step{.node = static_cast<NodeId>(s),
                       .kernel = node.backward ? kernels.backward : kernels.forward};
      if (with_shards_) add_shard_sums(step, node);
      for (std::size_t i = 0; i < node.outputs.size(); ++i)
        if (node.outputs[i] != kNoValue &&
            graph_.value(node.outputs[i]).kind == ValueKind::kParameterGradient)
          step.parameter_gradients |= 1u << i;
      const Prepare prepare = node.backward ? kernels.prepare_backward : kernels.prepare_forward;
      if (with_shards_ && shard_states_[s]) {
        step.shards_kernel = node.backward ? kernels.backward_shards : kernels.forward_shards;
        step.state = std::move(shard_states_[s]);
      } else if (prepare != nullptr) {
        step.state = prepare_state(prepare, node);
      }
      plan_.steps_.push_back(std::move(step));
    }
  }

  std::unique_ptr<OpState> prepare_state(Prepare prepare, const Node& node) const {
    const auto describe = [&](const std::vector<ValueId>& ids, std::vector<TensorType>& types) {
      auto present = std::make_unique<bool[]>(ids.size());
      for (std::size_t i = 0; i < ids.size(); ++i) {
        present[i] = ids[i] != kNoValue;
        types.push_back(present[i] ? graph_.value(ids[i]).type : TensorType());
      }
      return present;
    };
    std::vector<TensorType> in, out;
    const auto in_present = describe(node.inputs, in);
    const auto out_present = describe(node.outputs, out);
    return prepare({node.attributes,
                    in,
                    out,
                    {in_present.get(), in.size()},
                    {out_present.get(), out.size()},
                    device_});
  }

  // --- which values share memory

  std::size_t root(std::size_t value) {
    while (parent_[value] != value) value = parent_[value] = parent_[parent_[value]];
    return value;
  }

  /// Lets `out` live in the memory of `in`, or in the same fixed place.
  void unite(ValueId out, ValueId in) {
    const std::size_t r = root(index(in));
    parent_[index(out)] = r;
    last_use_[r] = std::max(last_use_[r], last_use_[index(out)]);
  }

  void share_memory() {
    parent_.resize(graph_.values().size());
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s) {
      const Node& node = graph_.nodes()[s];
      if (node.backward)
        share_backward(s, node);
      else
        share_forward(s, node);
    }
  }

  void share_forward(std::size_t s, const Node& node) {
    for (const AliasRule& rule : node.op->aliases) {
      const auto out_index = static_cast<std::size_t>(rule.output),
                 in_index = static_cast<std::size_t>(rule.input);
      if (out_index >= node.outputs.size() || in_index >= node.inputs.size() ||
          node.inputs[in_index] == kNoValue)
        continue;
      const ValueId out = node.outputs[out_index], in = node.inputs[in_index];
      if (root(index(out)) != index(out)) continue;  // an earlier rule found it a place
      if (rule.kind == AliasKind::kMay && !may_overwrite(s, out, in)) continue;
      if (rule.kind == AliasKind::kUpdate && with_shards_) continue;  // see ShardSum
      unite(out, in);
      if (rule.kind == AliasKind::kView) plan_.steps_[s].kernel = nullptr;
    }
  }

  void share_backward(std::size_t s, const Node& node) {
    const auto& rules = node.op->aliases;
    const bool is_view = std::any_of(rules.begin(), rules.end(),
                                     [](const AliasRule& r) { return r.kind == AliasKind::kView; });
    const std::size_t dy_index =
        node.inputs.size() - (node.inputs.size() - node.outputs.size()) / 2;
    const ValueId dy = node.inputs[dy_index];
    if (dy == kNoValue) return;
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId dx = node.outputs[i];
      if (dx == kNoValue || graph_.value(dx).kind == ValueKind::kParameterGradient) continue;
      const bool allowed = is_view || (node.op->dx_may_overwrite_dy >> i & 1u) != 0;
      if (!allowed || (!is_view && !may_overwrite(s, dx, dy))) continue;
      unite(dx, dy);
      if (is_view) plan_.steps_[s].kernel = nullptr;
      return;  // one tensor at most can take the place of dy
    }
  }

  bool may_overwrite(std::size_t s, ValueId out, ValueId in) {
    const std::size_t r = root(index(in));
    return graph_.values()[r].kind == ValueKind::kComputed && last_use_[r] == s &&
           graph_.value(out).type == graph_.value(in).type && last_use_[index(in)] <= s;
  }

  // --- where everything lies

  void pack() {
    std::vector<Block> blocks(graph_.values().size());
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s) {
      for (ValueId out : graph_.nodes()[s].outputs) {
        if (out == kNoValue || !lives_in_arena(index(out))) continue;
        const std::size_t r = root(index(out));
        if (!lives_in_arena(r)) continue;
        Block& b = blocks[r];
        b.size_bytes = std::max(b.size_bytes, bytes_in_arena(out));
        b.first = std::min(b.first, s);
        b.last = std::max({b.last, s, last_use_[r]});
        if (plan_.steps_[s].kernel != nullptr) plan_.unshared_bytes_ += bytes_in_arena(out);
      }
      const auto& state = plan_.steps_[s].state;
      blocks.push_back(
          {.size_bytes = align_up(state ? state->workspace_bytes() : 0), .first = s, .last = s});
      plan_.unshared_bytes_ += blocks.back().size_bytes;
    }
    plan_.arena_bytes_ = assign_offsets(blocks);
    for (std::size_t i = 0; i < graph_.values().size(); ++i) {
      if (plan_.placements_[i].storage != Storage::kActivations) continue;
      const std::size_t r = root(i);
      plan_.placements_[i] = plan_.placements_[r];
      if (plan_.placements_[r].storage == Storage::kActivations)
        plan_.placements_[i].offset = blocks[r].offset;
    }
    for (std::size_t s = 0; s < plan_.steps_.size(); ++s)
      plan_.steps_[s].workspace_offset = blocks[graph_.values().size() + s].offset;
  }

  /// Largest first, each at the lowest place that no block alive at the same time occupies.
  static std::size_t assign_offsets(std::vector<Block>& blocks) {
    std::vector<Block*> order;
    for (Block& b : blocks)
      if (b.size_bytes > 0 && b.first != kNever) order.push_back(&b);
    std::stable_sort(order.begin(), order.end(),
                     [](const Block* a, const Block* b) { return a->size_bytes > b->size_bytes; });
    std::vector<Block*> placed;  // by offset
    std::size_t end = 0;
    for (Block* b : order) {
      std::size_t offset = 0;
      for (const Block* other : placed) {
        if (other->last < b->first || b->last < other->first) continue;
        if (other->offset >= offset + b->size_bytes) break;
        offset = std::max(offset, other->offset + other->size_bytes);
      }
      b->offset = offset;
      end = std::max(end, offset + b->size_bytes);
      placed.insert(
          std::upper_bound(placed.begin(), placed.end(), b,
                           [](const Block* x, const Block* y) { return x->offset < y->offset; }),
          b);
    }
    return end;
  }

  void find_final_gradients() {
    std::vector<std::size_t> final_at(layout_.parameters().size(),
                                      0);  // no gradient: final from the start
    for (std::size_t s = 0; s < graph_.nodes().size(); ++s)
      for (ValueId out : graph_.nodes()[s].outputs) {
        if (out == kNoValue || graph_.value(out).kind != ValueKind::kParameterGradient) continue;
        const std::string& name = graph_.value(graph_.value(out).parameter).name;
        for (std::size_t p = 0; p < final_at.size(); ++p)
          if (layout_.parameters()[p].name == name) final_at[p] = s;
      }
    std::size_t p = 0;
    for (std::size_t s = 0; s < plan_.steps_.size(); ++s) {
      while (p < final_at.size() && final_at[p] <= s) ++p;
      plan_.steps_[s].gradients_final =
          p < final_at.size() ? layout_.parameters()[p].offset : layout_.parameter_elements();
    }
  }

  Plan& plan_;
  const Graph& graph_;
  const ParameterLayout& layout_;
  Device device_;
  bool with_shards_;
  std::vector<std::unique_ptr<OpState>> shard_states_;  // per node; null: one by one
  std::vector<bool> of_shard_;  // gradients that every shard makes for itself
  std::vector<std::size_t> last_use_;
  std::vector<std::size_t> parent_;
};

Plan::Plan(Graph graph, const ParameterLayout& layout, Device device, std::int64_t shards)
    : graph_(std::move(graph)), shards_(shards) {
  Planner(*this, layout, device).run();
}

std::uint64_t Plan::flops() const {
  std::uint64_t sum = 0;
  for (const Node& node : graph_.nodes()) sum += node_flops(graph_, node);
  return sum;
}

}  // namespace phalanx
