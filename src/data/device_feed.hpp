// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "data/loader.hpp"

namespace phalanx {

/// The batches of a loader in the memory of a device. On the CPU they stay where the loader has them. To a GPU each is copied
/// on a stream of its own, while the one before it is computed on.
class DeviceFeed {
 public:
  /// Both outlive the feed. The loader's own memory should be pinned for the device (see Loader).
  DeviceFeed(Loader& loader, Stream& compute);
  DeviceFeed(const DeviceFeed&) = delete;
  DeviceFeed& operator=(const DeviceFeed&) = delete;
  ~DeviceFeed();

  const Loader& loader() const noexcept { return loader_; }

  /// The next batch, for work that is enqueued on the compute stream before the next call.
  /// Throws    what Loader::next throws.
  const Batch& next();
  /// The same batch as the loader has it in host memory; valid until prefetch() or next().
  const Batch& on_host() const noexcept { return *host_; }
  /// Begins to copy the batch after the present one, for when all work on this one is enqueued. May wait for the loader; what
  /// it throws comes out of next(). Does nothing on the CPU.
  void prefetch();

 private:
  struct Slot {
    Buffer x, y;
    Batch batch;
  };
  bool is_cpu() const noexcept { return compute_.device().backend == nullptr; }
  void fetch();
  static void reserve(Buffer& buffer, std::size_t size_bytes, Stream& stream);

  Loader& loader_;
  Stream& compute_;
  Stream copies_;
  Event computed_, copied_;
  std::array<Slot, 2> slots_;
  std::size_t present_ = 0;
  bool is_fetched_ = false;  // the slot after the present one holds the next batch
  const Batch* host_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace phalanx
