// SPDX-License-Identifier: Apache-2.0
#include "comm/gather_texts.hpp"

#include <algorithm>

namespace phalanx {

// The lengths first, then the texts, filled up to the longest.
std::vector<std::string> gather_texts(const std::string& mine, Communicator& comm, Stream& stream) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  const auto length = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> lengths(ranks);
  comm.all_gather({&length, {DType::kI64, Shape{1}}},
                  {lengths.data(), {DType::kI64, Shape{comm.size(), 1}}}, stream);
  const std::int64_t longest = *std::ranges::max_element(lengths);
  std::string padded = mine;
  padded.resize(static_cast<std::size_t>(longest));
  std::string all(ranks * padded.size(), ' ');
  comm.all_gather({padded.data(), {DType::kU8, Shape{longest}}},
                  {all.data(), {DType::kU8, Shape{comm.size(), longest}}}, stream);
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < ranks; ++r)
    texts.push_back(all.substr(r * padded.size(), static_cast<std::size_t>(lengths[r])));
  return texts;
}

}  // namespace phalanx
