// SPDX-License-Identifier: Apache-2.0
#include "graph/parameters.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/rng.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kSlotAlignment = 16;  // elements: one cache line of f32

std::int64_t place(std::vector<ParameterSlot>& slots) {
  std::int64_t offset = 0;
  for (ParameterSlot& slot : slots) {
    slot.offset = offset;
    offset += (slot.shape.numel() + kSlotAlignment - 1) / kSlotAlignment * kSlotAlignment;
  }
  return offset;
}

const ParameterSlot& find(const std::vector<ParameterSlot>& slots, std::string_view name) {
  for (const ParameterSlot& slot : slots)
    if (slot.name == name) return slot;
  throw InvalidArgument(fmt::format("the model has no parameter '{}'", name));
}

std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325u;  // FNV-1a
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return h;
}

}  // namespace

void initialise_array(const ParameterSlot& slot, std::uint64_t seed, float* to) {
  const std::int64_t count = slot.shape.numel();
  const auto value = static_cast<float>(slot.init.value);
  if (slot.init.kind == Initializer::Kind::kConstant) {
    std::fill_n(to, count, value);
    return;
  }
  const std::uint64_t name = hash_name(slot.name);
  for (std::int64_t i = 0; i < count; i += 4) {
    const auto block = static_cast<std::uint64_t>(i / 4);
    const auto words = philox(
        seed ^ name,
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
         static_cast<std::uint32_t>(name >> 32), static_cast<std::uint32_t>(RandomStream::kInit)});
    float draws[4];
    if (slot.init.kind == Initializer::Kind::kUniform) {
      for (int k = 0; k < 4; ++k) draws[k] = value * (2.0f * uniform01(words[k]) - 1.0f);
    } else {
      const auto a = normal_pair(words[0], words[1]), b = normal_pair(words[2], words[3]);
      draws[0] = value * a[0], draws[1] = value * a[1], draws[2] = value * b[0],
      draws[3] = value * b[1];
    }
    std::copy_n(draws, std::min<std::int64_t>(4, count - i), to + i);
  }
}

ParameterLayout::ParameterLayout(const Graph& graph) {
  struct Entry {
    ParameterSlot slot;
    std::size_t final_at;  // the last node that writes the gradient; never, without a gradient
  };
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < graph.values().size(); ++i) {
    const Value& v = graph.values()[i];
    if (v.kind == ValueKind::kState) states_.push_back({v.name, v.type.shape, 0, v.init});
    if (v.kind != ValueKind::kParameter) continue;
    require(v.type.dtype == DType::kF32 && v.type.channel_block == 1, "parameters are plain f32");
    Entry entry{{v.name, v.type.shape, 0, v.init}, graph.nodes().size()};
    for (std::size_t n = 0; n < graph.nodes().size(); ++n)
      for (ValueId out : graph.nodes()[n].outputs)
        if (out != kNoValue && graph.value(out).parameter == static_cast<ValueId>(i))
          entry.final_at = n;
    entries.push_back(std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.final_at < b.final_at; });
  for (Entry& e : entries) parameters_.push_back(std::move(e.slot));
  parameter_elements_ = place(parameters_);
  state_elements_ = place(states_);
}

const ParameterSlot& ParameterLayout::parameter(std::string_view name) const {
  return find(parameters_, name);
}
const ParameterSlot& ParameterLayout::state(std::string_view name) const {
  return find(states_, name);
}

ParameterSet::ParameterSet(ParameterLayout layout, Stream& stream, std::byte* memory)
    : layout_(std::move(layout)),
      stream_(stream),
      states_({DType::kF32, Shape{layout_.state_elements()}}, stream) {
  const TensorType type(DType::kF32, Shape{layout_.parameter_elements()});
  if (memory == nullptr) own_parameters_ = Tensor(type, stream, "parameters");
  parameters_ = {memory == nullptr ? own_parameters_.view().data : memory, type};
  fill_zero(parameters_, stream);
  fill_zero(states_.view(), stream);
}

void ParameterSet::initialise(std::uint64_t seed) {
  std::vector<float> values;
  const auto fill = [&](const ParameterSlot& slot, TensorView to) {
    values.resize(static_cast<std::size_t>(slot.shape.numel()));
    initialise_array(slot, seed, values.data());
    upload({values.data(), to.type}, to, stream_);
  };
  for (const ParameterSlot& slot : layout_.parameters()) fill(slot, parameter(slot.name));
  for (const ParameterSlot& slot : layout_.states()) fill(slot, state(slot.name));
}

void ParameterSet::keep_copies(Stream& stream) {
  if (copies_.view().data == nullptr)
    copies_ = Tensor({DType::kBf16, Shape{layout_.parameter_elements()}}, stream,
                     "bf16 copies of the parameters");
}

TensorView ParameterSet::copies() const noexcept { return copies_.view(); }

void ParameterSet::refresh_copies(std::uint64_t version, Stream& stream) {
  if (copies_version_ == version) return;
  copy(parameters_, copies_.view(), stream);
  copies_version_ = version;
}

TensorView ParameterSet::parameters() const noexcept { return parameters_; }
TensorView ParameterSet::states() const noexcept { return states_.view(); }

TensorView ParameterSet::parameter(std::string_view name) const {
  const ParameterSlot& slot = layout_.parameter(name);
  return {parameters_.as<float>() + slot.offset, {DType::kF32, slot.shape}};
}

TensorView ParameterSet::state(std::string_view name) const {
  const ParameterSlot& slot = layout_.state(name);
  return {states_.as<float>().data() + slot.offset, {DType::kF32, slot.shape}};
}

}  // namespace phalanx
