// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "comm/communicator.hpp"

namespace phalanx {

/// Who calls, and who stops a call from outside: shared by all calls of one rank.
struct Caller {
  int rank = 0;
  std::string host;
  double deadline_seconds = 0;
  std::atomic<bool> cancelled{false};
  const std::atomic<bool>* group_cancelled =
      nullptr;  // by another rank of the group; null: not possible
};

/// One collective while it runs: what its errors say, and until when it may wait.
struct Call {
  const Caller& caller;
  std::string_view operation;
  std::uint64_t number = 0;
  std::string_view label;
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();

  bool cancelled() const noexcept {
    return caller.cancelled || (caller.group_cancelled != nullptr && *caller.group_cancelled);
  }
  bool late() const noexcept;
  /// Logs and throws CommError "rank 1 on node1 waited 10.0 s in all_reduce #4121 (bucket 7);
  /// missing: ...".
  [[noreturn]] void fail(std::string_view missing) const;
};

/// Blocking collectives on host memory, called by one thread at a time. What they give is the
/// contract of Communicator; arguments are checked already. Every wait ends by Call::fail when the
/// call is late or cancelled.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;
  virtual std::string host() const = 0;

  virtual void all_reduce(const Call& call, TensorView data, ReduceOp op) = 0;
  virtual void broadcast(const Call& call, std::span<std::byte> data, int root) = 0;
  virtual void all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) = 0;
  virtual void reduce_scatter(const Call& call, TensorView data, ReduceOp op) = 0;
  virtual void all_gather_parts(const Call& call, TensorView data) = 0;
  /// Null where ranks share no memory, or too little of it is left; then on every rank.
  virtual std::byte* allocate(const Call&, std::size_t) { return nullptr; }
  virtual void barrier(const Call& call) = 0;

  /// A call failed: nothing collective may be done any more, not even on destruction.
  virtual void give_up() noexcept {}
  virtual void abort() noexcept = 0;
  virtual const std::atomic<bool>* group_cancelled() const noexcept { return nullptr; }
  virtual void* native_mpi() noexcept { return nullptr; }
};

/// The communicator over a transport: checks arguments, numbers the calls, and runs them here or on
/// a progress thread.
std::unique_ptr<Communicator> make_host_communicator(std::unique_ptr<Transport> transport,
                                                     Progress progress, double deadline_seconds);

}  // namespace phalanx
