// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "device/stream.hpp"
#include "train/trace.hpp"

namespace phalanx {

/// When work of a GPU ran that was enqueued earlier: by its own clock, in the time of the host. For one step at a time.
///
/// The clocks are compared by an event on an idle stream: the host's time of it is known to half of what a wait for nothing
/// takes, some microseconds.
class DeviceSpans {
 public:
  explicit DeviceSpans(Stream& stream)
      : stream_(stream), zero_event_(stream.device(), Event::Clock::kDevice) {}

  /// Compares the clocks. The stream has been synchronised, and is not captured.
  void align();
  /// What is enqueued on the stream from here to end() is a span.
  void begin();
  void end(std::string name);
  /// To the track of the GPU. The stream has been synchronised. Spans begin anew.
  void move_to(Trace& trace);

 private:
  struct Span {
    explicit Span(Device device)
        : begin(device, Event::Clock::kDevice), end(device, Event::Clock::kDevice) {}
    std::string name;
    Event begin, end;
  };

  Stream& stream_;
  Event zero_event_;
  Trace::Time zero_;  // when the device came past it
  std::vector<std::unique_ptr<Span>>
      spans_;              // kept from step to step, for events are costly to make
  std::size_t count_ = 0;  // of this step
};

}  // namespace phalanx
