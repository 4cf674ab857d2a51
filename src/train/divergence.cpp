// SPDX-License-Identifier: Apache-2.0
#include "train/divergence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

namespace phalanx {
namespace {

/// Eight bytes at a time in four lanes, so that the products overlap. Every flipped bit changes the result.
std::uint64_t hash(std::span<const float> values) {
  constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15u;  // 2^64 over the golden ratio
  std::uint64_t lanes[4] = {1, 2, 3, 4};
  const auto mix = [](std::uint64_t& lane, std::uint64_t word) {
    lane = std::rotl((lane ^ word) * kFactor, 29);
  };
  std::size_t i = 0;
  for (; i + 8 <= values.size(); i += 8)
    for (std::size_t lane = 0; lane < 4; ++lane) {
      std::uint64_t word = 0;
      std::memcpy(&word, values.data() + i + 2 * lane, sizeof word);
      mix(lanes[lane], word);
    }
  for (; i < values.size(); ++i) mix(lanes[0], std::bit_cast<std::uint32_t>(values[i]));
  for (std::size_t lane = 1; lane < 4; ++lane) mix(lanes[0], lanes[lane]);
  return lanes[0];
}

/// What most ranks have; in a tie, what the first of them has.
std::int64_t most_common(std::span<const std::int64_t> values) {
  return *std::ranges::max_element(values, {},
                                   [&](std::int64_t v) { return std::ranges::count(values, v); });
}

}  // namespace

void check_divergence(const ParameterSet& parameters, const std::string& except,
                      const RankLayout& layout, Communicator& comm, Stream& stream) {
  const std::vector<ParameterSlot>& slots = parameters.layout().parameters();
  const auto count = static_cast<std::int64_t>(slots.size()), ranks = std::int64_t{comm.size()};
  std::vector<std::int64_t> mine, all(static_cast<std::size_t>(count * ranks));
  HostTensor space;
  const TensorView arena = on_host(parameters.parameters(), space, stream);
  stream.synchronize();
  for (const ParameterSlot& slot : slots)
    mine.push_back(slot.name == except ? 0
                                       : std::bit_cast<std::int64_t>(
                                             hash({arena.as<float>() + slot.offset,
                                                   static_cast<std::size_t>(slot.shape.numel())})));
  Stream host{Device{}};
  comm.all_gather({mine.data(), {DType::kI64, Shape{count}}},
                  {all.data(), {DType::kI64, Shape{ranks, count}}}, host);
  std::string first;
  int others = -1;
  std::vector<std::int64_t> of_slot(static_cast<std::size_t>(ranks));
  for (std::int64_t s = 0; s < count; ++s) {
    for (std::int64_t r = 0; r < ranks; ++r) of_slot[r] = all[r * count + s];
    const std::int64_t expected = most_common(of_slot);
    const auto wrong = std::ranges::find_if(of_slot, [&](std::int64_t h) { return h != expected; });
    if (wrong == of_slot.end()) continue;
    const auto rank = static_cast<std::size_t>(wrong - of_slot.begin());
    if (first.empty())
      first = fmt::format("'{}' on rank {} on {}", slots[s].name, rank, layout.hosts[rank]);
    ++others;
  }
  if (first.empty()) return;
  throw DivergenceError(fmt::format("ranks hold different parameters: {}{}", first,
                                    others > 0 ? fmt::format(", and {} more", others) : ""));
}

}  // namespace phalanx
