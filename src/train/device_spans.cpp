// SPDX-License-Identifier: Apache-2.0
#include "train/device_spans.hpp"

#include <chrono>
#include <utility>

namespace phalanx {

void DeviceSpans::align() {
  const Trace::Time before = Trace::Time::clock::now();
  zero_event_.record(stream_);
  stream_.synchronize();
  zero_ = before + (Trace::Time::clock::now() - before) / 2;
  count_ = 0;
}

void DeviceSpans::begin() {
  if (spans_.size() == count_) spans_.push_back(std::make_unique<Span>(stream_.device()));
  spans_[count_]->begin.record(stream_);
}

void DeviceSpans::end(std::string name) {
  Span& span = *spans_[count_++];
  span.name = std::move(name);
  span.end.record(stream_);
}

void DeviceSpans::move_to(Trace& trace) {
  const auto when = [&](const Event& event) {
    return zero_ + std::chrono::duration_cast<Trace::Time::duration>(
                       std::chrono::duration<double>(seconds_between(zero_event_, event)));
  };
  for (std::size_t i = 0; i < count_; ++i) {
    Span& span = *spans_[i];
    trace.add(std::move(span.name), Trace::Track::kDevice, when(span.begin), when(span.end));
  }
  count_ = 0;
}

}  // namespace phalanx
