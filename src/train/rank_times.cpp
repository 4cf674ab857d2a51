// SPDX-License-Identifier: Apache-2.0
#include "train/rank_times.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace phalanx {
namespace {

constexpr std::array<float StepTime::*, 4> kMembers{&StepTime::step, &StepTime::data,
                                                    &StepTime::communication, &StepTime::compute};

double own_time(const RankTimes& r) {
  return static_cast<double>(r.median.data) + static_cast<double>(r.median.compute);
}

/// The proportional set size, as Linux counts it.
float memory_in_use_mib() {
  std::ifstream file("/proc/self/smaps_rollup");
  std::string word;
  while (file >> word)
    if (float kib = 0; word == "Pss:" && file >> kib) return kib / 1024;
  return 0;
}

}  // namespace

void StepTimes::add(const StepTime& time) {
  if (times_.size() < kMost)
    times_.push_back(time);
  else
    times_[next_] = time;
  next_ = (next_ + 1) % kMost;
}

RankTimes StepTimes::quantiles() const {
  RankTimes result;
  result.memory_mib = memory_in_use_mib();
  std::vector<float> values(times_.size());
  const auto at = [&](double share) {
    const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::ranges::nth_element(values, values.begin() + place);
    return values[static_cast<std::size_t>(place)];
  };
  for (const auto member : kMembers) {
    if (times_.empty()) continue;
    std::ranges::transform(times_, values.begin(), [&](const StepTime& t) { return t.*member; });
    result.median.*member = at(0.5);
    result.p95.*member = at(0.95);
  }
  return result;
}

std::vector<RankTimes> gather(const RankTimes& mine, Communicator& comm, Stream& stream) {
  constexpr std::int64_t kFloats = sizeof(RankTimes) / sizeof(float);
  std::vector<RankTimes> all(static_cast<std::size_t>(comm.size()));
  comm.all_gather({&mine, {DType::kF32, Shape{kFloats}}},
                  {all.data(), {DType::kF32, Shape{comm.size(), kFloats}}}, stream);
  return all;
}

Straggler find_straggler(const std::vector<RankTimes>& ranks) {
  std::vector<double> times;
  for (const RankTimes& r : ranks) times.push_back(own_time(r));
  const auto slowest = std::ranges::max_element(times) - times.begin();
  const double longest = times[static_cast<std::size_t>(slowest)];
  std::ranges::sort(times);
  const double median = times[(times.size() - 1) / 2];
  return {static_cast<int>(slowest), median > 0 ? longest / median - 1 : 0};
}

std::string to_json(const std::vector<RankTimes>& ranks, const RankLayout& layout) {
  const auto members = [](const StepTime& t) {
    return nlohmann::ordered_json{{"step", t.step},
                                  {"data", t.data},
                                  {"compute", t.compute},
                                  {"communication", t.communication}};
  };
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (std::size_t r = 0; r < ranks.size(); ++r)
    all.push_back({{"rank", r},
                   {"host", layout.hosts[r]},
                   {"median", members(ranks[r].median)},
                   {"p95", members(ranks[r].p95)},
                   {"memory_mib", ranks[r].memory_mib}});
  return all.dump(1) + "\n";
}

}  // namespace phalanx
