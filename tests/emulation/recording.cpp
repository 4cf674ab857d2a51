// SPDX-License-Identifier: Apache-2.0
#include "emulation/recording.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"
#include "emulation/emulated_stream.hpp"

namespace phalanx::emulation {

std::size_t Recording::add_branch() {
  seen_.emplace_back();
  for (std::vector<std::size_t>& seen : seen_) seen.resize(seen_.size());
  return seen_.size() - 1;
}

void Recording::add(std::size_t branch, Work work) {
  steps_.push_back({branch, std::move(work)});
  ++seen_[branch][branch];
}

void Recording::wait(std::size_t branch, const Mark& mark) {
  steps_.push_back({branch, nullptr, mark.branch, mark.seen[mark.branch]});
  std::vector<std::size_t>& seen = seen_[branch];
  for (std::size_t i = 0; i < mark.seen.size(); ++i) seen[i] = std::max(seen[i], mark.seen[i]);
  ++seen[branch];
}

void Recording::fail(const std::string& why) {
  if (failure_.empty()) failure_ = why;
}

void Recording::end() {
  has_ended_ = true;
  for (std::size_t branch = 1; branch < seen_.size(); ++branch)
    if (seen_[0][branch] < seen_[branch][branch])
      fail("a stream that joined the capture was not joined back");
  if (!failure_.empty()) throw DeviceError("a capture failed: " + failure_);
}

void Recording::enqueue(std::span<const std::shared_ptr<EmulatedStream>> streams) const {
  std::vector<std::size_t> before;
  for (const auto& stream : streams) before.push_back(stream->added());
  for (const Step& step : steps_) {
    if (step.work != nullptr)
      streams[step.branch]->add_polled(step.work);
    else
      streams[step.branch]->add_polled(
          [other = streams[step.of_branch], count = before[step.of_branch] + step.count] {
            return other->advance_to(count);
          });
  }
}

}  // namespace phalanx::emulation
