// SPDX-License-Identifier: Apache-2.0
#include "data/device_feed.hpp"

#include <utility>

namespace phalanx {

DeviceFeed::DeviceFeed(Loader& loader, Stream& compute)
    : loader_(loader),
      compute_(compute),
      copies_(compute.device()),
      computed_(compute.device()),
      copied_(compute.device()) {}

DeviceFeed::~DeviceFeed() {
  try {
    copies_.synchronize();  // the loader's memory is free again
  } catch (const Error&) {  // whoever waits for the compute stream hears of it
  }
}

const Batch& DeviceFeed::next() {
  if (is_cpu()) {
    host_ = &loader_.next();
    return *host_;
  }
  if (!is_fetched_) prefetch();
  computed_.record(compute_);  // what used the present slot, which is filled next
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  is_fetched_ = false;
  present_ = 1 - present_;
  copied_.hold(compute_);
  return slots_[present_].batch;
}

void DeviceFeed::prefetch() {
  if (is_cpu() || is_fetched_ || failure_) return;
  try {
    fetch();
    is_fetched_ = true;
  } catch (const Error&) {
    failure_ = std::current_exception();
  }
}

void DeviceFeed::reserve(Buffer& buffer, std::size_t size_bytes, Stream& stream) {
  if (buffer.size_bytes() < size_bytes) buffer = Buffer(size_bytes, stream);
}

void DeviceFeed::fetch() {
  copies_.synchronize();  // the loader's last batch has been read
  host_ = &loader_.next();
  Slot& slot = slots_[1 - present_];
  computed_.hold(copies_);
  reserve(slot.x, host_->x.type.size_bytes(), copies_);
  reserve(slot.y, host_->y.type.size_bytes(), copies_);
  slot.batch.x = {slot.x.data(), host_->x.type};
  slot.batch.y = {slot.y.data(), host_->y.type};
  slot.batch.slice = host_->slice;
  upload(host_->x, {slot.x.data(), host_->x.type}, copies_);
  upload(host_->y, {slot.y.data(), host_->y.type}, copies_);
  copied_.record(copies_);
}

}  // namespace phalanx
