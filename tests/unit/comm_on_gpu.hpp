// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// Emulated GPUs, for tests of communicators.
class EmulatedGpus {
 public:
  static constexpr int kCount = 4;

  EmulatedGpus() {
    setenv("PHALANX_EMULATED_GPUS", "4", 1);
    backend_.emplace(PHALANX_EMULATED);
  }
  Device device(int index) const { return {DeviceKind::kCuda, index, &backend_->get()}; }

 private:
  std::optional<LoadedBackend> backend_;
};

/// Looks like a communicator for the host, so that what is checked of those can be checked of one for a GPU: every tensor goes
/// to the device, through the communicator, and back. Both ways are enqueued on one stream, which nobody waits for in between.
class OnGpu final : public Communicator {
 public:
  OnGpu(std::unique_ptr<Communicator> tested, Device device)
      : stream_(device), tested_(std::move(tested)) {}

  int rank() const noexcept override { return tested_->rank(); }
  int size() const noexcept override { return tested_->size(); }

  void all_reduce(TensorView data, ReduceOp op, Stream&) override {
    const Copy copy = to_device(data);
    tested_->all_reduce(copy.view, op, stream_);
    to_host(copy, data);
  }
  void broadcast(TensorView data, int root, Stream&) override {
    const Copy copy = to_device(data);
    tested_->broadcast(copy.view, root, stream_);
    to_host(copy, data);
  }
  void all_gather(ConstTensorView mine, TensorView all, Stream&) override {
    const Copy brought = to_device({const_cast<void*>(mine.data), mine.type}),
               copy = to_device(all);
    tested_->all_gather(brought.view, copy.view, stream_);
    to_host(copy, all);
  }

  Request start_all_reduce(TensorView data, ReduceOp op, Stream&, std::string label) override {
    Copy copy = to_device(data);
    const TensorView view = copy.view;
    return note(tested_->start_all_reduce(view, op, stream_, std::move(label)), std::move(copy),
                data);
  }
  Request start_reduce_scatter(TensorView data, ReduceOp op, Stream&, std::string label) override {
    Copy copy = to_device(data);
    const TensorView view = copy.view;
    return note(tested_->start_reduce_scatter(view, op, stream_, std::move(label)), std::move(copy),
                data);
  }
  Request start_all_gather(TensorView data, Stream&, std::string label) override {
    Copy copy = to_device(data);
    const TensorView view = copy.view;
    return note(tested_->start_all_gather(view, stream_, std::move(label)), std::move(copy), data);
  }
  RequestTimes wait(Request request) override {
    RequestTimes times = tested_->wait(request);
    const auto started = started_.find(request.id);
    to_host(started->second.first, started->second.second);
    started_.erase(started);
    if (const auto measured = tested_->measured(request)) times = *measured;
    return times;
  }

  std::byte* allocate(std::size_t size_bytes, Stream&) override {
    Arena& arena = arenas_.emplace_back();
    arena.on_host.resize(size_bytes);
    arena.on_device = tested_->allocate(size_bytes, stream_);
    return arena.on_host.data();
  }

  void barrier() override { tested_->barrier(); }
  void poll() override { tested_->poll(); }
  void abort() noexcept override { tested_->abort(); }

  Communicator& tested() { return *tested_; }
  Stream& stream() { return stream_; }

 private:
  struct Copy {
    TensorView view;
    Buffer own;
  };
  struct Arena {
    std::vector<std::byte> on_host;
    std::byte* on_device = nullptr;
  };

  Copy to_device(TensorView data) {
    const auto* bytes = data.as<std::byte>();
    Copy copy;
    for (const Arena& arena : arenas_)
      if (bytes >= arena.on_host.data() && bytes < arena.on_host.data() + arena.on_host.size())
        copy.view = {arena.on_device + (bytes - arena.on_host.data()), data.type};
    if (copy.view.data == nullptr) {
      copy.own = Buffer(data.type.size_bytes(), stream_);
      copy.view = {copy.own.data(), data.type};
    }
    upload({bytes, data.type.size_bytes()}, copy.view.as<std::byte>(), stream_);
    return copy;
  }

  void to_host(const Copy& copy, TensorView data) {
    tested_->synchronize(stream_);
    download(copy.view.as<std::byte>(), {data.as<std::byte>(), data.type.size_bytes()}, stream_);
  }

  Request note(Request request, Copy copy, TensorView data) {
    started_.emplace(request.id, std::pair(std::move(copy), data));
    return request;
  }

  Stream stream_;
  std::unique_ptr<Communicator> tested_;  // of streams that outlive it
  std::deque<Arena> arenas_;
  std::map<std::uint64_t, std::pair<Copy, TensorView>> started_;
};

}  // namespace phalanx
