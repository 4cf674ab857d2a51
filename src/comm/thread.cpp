// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "comm/shared_window.hpp"
#include "comm/transport.hpp"
#include "core/error.hpp"

namespace phalanx {
namespace {

// What the threads of one group share.
struct Group {
  explicit Group(int members)
      : bytes(SharedWindow::size_bytes(members)),
        memory(::operator new (bytes, std::align_val_t{64})) {
    std::memset(memory, 0, bytes);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group() { ::operator delete (memory, std::align_val_t{64}); }

  std::size_t bytes;
  void* memory;
  std::atomic<bool> aborted{false};
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<Group> group, int rank, const std::vector<std::string>& names)
      : group_(std::move(group)),
        rank_(rank),
        size_(static_cast<int>(names.size())),
        window_(group_->memory, rank, names) {}

  int rank() const noexcept override { return rank_; }
  int size() const noexcept override { return size_; }
  std::string host() const override { return "this process"; }

  void all_reduce(const Call& call, TensorView data, ReduceOp op) override {
    window_.all_reduce(call, data, op);
  }
  void broadcast(const Call& call, std::span<std::byte> data, int root) override {
    window_.broadcast(call, data, root);
  }
  void all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) override {
    window_.all_gather(call, mine, all);
  }
  void reduce_scatter(const Call& call, TensorView data, ReduceOp op) override {
    window_.reduce_scatter(call, data, op);
  }
  void all_gather_parts(const Call& call, TensorView data) override {
    window_.all_gather_parts(call, data);
  }
  std::byte* allocate(const Call& call, std::size_t size_bytes) override {
    std::byte* mine = memory_.emplace_back(size_bytes, stream_).data();
    std::vector<std::byte*> bases(static_cast<std::size_t>(size_));
    all_gather(call, std::as_bytes(std::span(&mine, 1)),
               std::as_writable_bytes(std::span(bases)).data());
    window_.add_arena(std::move(bases), size_bytes);
    return mine;
  }
  void barrier(const Call& call) override { window_.barrier(call); }
  void abort() noexcept override { group_->aborted = true; }
  const std::atomic<bool>* group_cancelled() const noexcept override { return &group_->aborted; }

 private:
  std::shared_ptr<Group> group_;
  int rank_;
  int size_;
  SharedWindow window_;
  Stream stream_{Device{}};
  std::vector<Buffer> memory_;  // of allocate()
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size, Progress progress,
                                                                     double deadline_seconds) {
  require(size > 0, fmt::format("expected at least one thread, found {}", size));
  const auto group = std::make_shared<Group>(size);
  std::vector<std::string> names;
  for (int r = 0; r < size; ++r) names.push_back(fmt::format("rank {}", r));
  std::vector<std::unique_ptr<Communicator>> comms;
  for (int r = 0; r < size; ++r) {
    comms.push_back(make_host_communicator(std::make_unique<ThreadTransport>(group, r, names),
                                           progress, deadline_seconds));
  }
  return comms;
}

}  // namespace phalanx
