// SPDX-License-Identifier: Apache-2.0
#include "device/stream.hpp"

#include <fmt/format.h>

#include "core/error.hpp"
#include "device/backend.hpp"

namespace phalanx {

Stream::Stream(Device device) : device_(device) {
  require<Unsupported>(device.kind == DeviceKind::kCpu || device.backend != nullptr,
                       fmt::format("device = {}: there is no backend for it", name(device.kind)));
  if (device_.backend != nullptr) handle_ = device_.backend->make_stream(device_.index);
}

Stream::~Stream() {
  if (device_.backend != nullptr) device_.backend->destroy_stream(handle_);
}

void Stream::synchronize() {
  if (device_.backend != nullptr) device_.backend->synchronize(handle_);
}

bool Stream::is_done() const {
  return device_.backend == nullptr || device_.backend->is_done(handle_);
}

Event::Event(Device device, Clock clock) : device_(device) {
  if (device_.backend != nullptr)
    handle_ = device_.backend->make_event(device_.index, clock == Clock::kDevice);
}

Event::~Event() {
  if (device_.backend != nullptr) device_.backend->destroy_event(handle_);
}

void Event::record(Stream& stream) {
  require(stream.device() == device_, "an event was recorded on a stream of another device");
  if (device_.backend != nullptr) device_.backend->record(handle_, stream.handle());
}

void Event::hold(Stream& stream) const {
  require(stream.device() == device_, "a stream was to wait for an event of another device");
  if (device_.backend != nullptr) device_.backend->wait(stream.handle(), handle_);
}

bool Event::is_past() const {
  return device_.backend == nullptr || device_.backend->is_past(handle_);
}

double seconds_between(const Event& begin, const Event& end) {
  require(begin.device_ == end.device_, "the time between events of different devices");
  DeviceBackend* backend = begin.device_.backend;
  return backend == nullptr ? 0 : backend->seconds_between(begin.handle_, end.handle_);
}

}  // namespace phalanx
