// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/device_graph.hpp"
#include "tensor/combine.hpp"

namespace phalanx {

class MpiRuntime;

/// A collective that was started and not yet waited for. Every one must be waited for exactly once.
struct Request {
  std::uint64_t id = 0;
};

/// When a request ran, for the account of hidden and exposed communication.
struct RequestTimes {
  std::chrono::steady_clock::time_point queued, begun, ended;
};

/// A fixed group of ranks. Every rank calls the same collectives, with equal sizes and types, in
/// the same order. Each call enqueues on `stream` and may return before it is done; the result is
/// valid for later work on that stream. Buffers stay untouched until then. Not thread-safe: one
/// thread calls. Errors may surface in a later call or in poll(). An all_reduce gives the same bits
/// on every rank, and the same bits again for the same inputs; a reduce_scatter gives the bits of an all_reduce.
/// (By NCCL a reduce_scatter may add in another order, and bf16 is rounded after every addition.)
///
/// A tensor lives where its stream's device is: with a stream of the CPU, in host memory, whatever the communicator. One for
/// a GPU also takes streams of that GPU, and then device memory; one for the host takes no others. All ranks agree.
///
/// Types     f32, bf16 (added in f32), i64 and i32 for reductions; any type for the rest.
/// Empty     a collective over zero elements still counts as a call that every rank must make.
/// Throws    InvalidArgument for a type that cannot be reduced; CommError if a peer failed or
///           the deadline passed. The message names rank, host, operation, number and label.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const noexcept = 0;
  virtual int size() const noexcept = 0;

  virtual void all_reduce(TensorView data, ReduceOp op, Stream& stream) = 0;  // in place
  virtual void broadcast(TensorView data, int root, Stream& stream) = 0;      // in place
  virtual void all_gather(ConstTensorView mine, TensorView all,
                          Stream& stream) = 0;  // all [size, ...mine]

  /// Starts a collective that runs beside the caller where the implementation can do that. `label`
  /// names it in errors. All work in place.
  virtual Request start_all_reduce(TensorView data, ReduceOp op, Stream& stream,
                                   std::string label) = 0;
  /// Rank r gets part_of(data.numel(), r, size()) of the result; the rest of `data` is then unspecified.
  virtual Request start_reduce_scatter(TensorView data, ReduceOp op, Stream& stream,
                                       std::string label) = 0;
  /// Rank r brings part_of(data.numel(), r, size()); every rank gets all parts.
  virtual Request start_all_gather(TensorView data, Stream& stream, std::string label) = 0;
  /// Later work on the request's stream sees the result. On the CPU, and where sums go through host memory, the host waits;
  /// else the stream does, and what is returned begins and ends with this call: see measured().
  virtual RequestTimes wait(Request request) = 0;
  /// When a request ran for which the stream waited, by the device's clock: from the synchronize() after wait() to the next.
  /// Nothing for all others.
  virtual std::optional<RequestTimes> measured(Request) { return std::nullopt; }

  /// What is started between these two goes out together, which costs less where it is small. All on one stream; nothing of it
  /// is waited for before the end. Groups are not nested.
  virtual void begin_group() {}
  virtual void end_group() {}

  /// As stream.synchronize(), the host waits for what was enqueued, but with the deadline for collectives among it.
  /// Throws    CommError, DeviceError.
  virtual void synchronize(Stream& stream) { stream.synchronize(); }

  /// Whether collectives on a stream that is captured become part of its graph. Such a graph is launched by launch(); wait()
  /// is called within the capture, and nothing of it is measured.
  virtual bool can_be_captured() const noexcept { return false; }
  /// As graph->launch(stream), with the deadline for the collectives in it. The communicator empties the graph should it fail,
  /// for none may outlive what its collectives are of.
  /// Throws    CommError, DeviceError.
  virtual void launch(const std::shared_ptr<DeviceGraph>& graph, Stream& stream) {
    graph->launch(stream);
  }

  /// Zeroed memory for an arena that is reduced or gathered again and again: collectives on slices of it copy nothing where
  /// ranks share memory. Every rank asks for the same sizes in the same order, and gives collectives the same slices.
  /// Aligned to kBufferAlignment; lives as long as the communicator. On a GPU, later work on the stream may use it.
  /// Throws    OutOfMemory.
  virtual std::byte* allocate(std::size_t size_bytes, Stream& stream) = 0;

  virtual void barrier() = 0;         ///< the host waits for every rank
  virtual void poll() = 0;            ///< throws CommError if a peer failed; never waits
  virtual void abort() noexcept = 0;  ///< frees the other ranks from pending collectives

  /// `MPI_Comm*` for collective HDF5 access, null if this group is not an MPI group.
  virtual void* native_mpi() noexcept { return nullptr; }
};

/// How MPI is driven. A thread lets collectives run beside the backward pass; inline makes every
/// call on the caller's thread, which is faster for small models and for ranks that share cores.
enum class Progress : std::uint8_t { kThread, kInline };

std::unique_ptr<Communicator> make_single_communicator();

/// `size` communicators for as many threads of this process, each to be used by one thread. For
/// tests of data parallelism without a launcher.
std::vector<std::unique_ptr<Communicator>> make_thread_communicators(
    int size, Progress progress = Progress::kInline, double deadline_seconds = 60);

/// On host memory, over a duplicate of MPI_COMM_WORLD. Collective; must die before `mpi`. A rank
/// that waits longer than the deadline in one collective logs what it waits for and throws; the
/// group is then unusable.
///
/// While no collective is pending, the caller may use `native_mpi()` itself in either mode.
///
/// `most_ranks_per_node` > 0 treats the ranks of one node as several nodes of at most that many:
/// for tests and measurements of what runs between nodes, on one machine.
/// `tree_over_ranks`: a power of two of ranks sums in one binary tree over ranks wherever they are placed, if need be without
/// summing inside of nodes first.
/// Throws    Unsupported for Progress::kThread if MPI grants less than MPI_THREAD_SERIALIZED.
std::unique_ptr<Communicator> make_mpi_communicator(MpiRuntime& mpi, Progress progress,
                                                    double deadline_seconds,
                                                    int most_ranks_per_node = 0,
                                                    bool tree_over_ranks = false);

/// For a GPU, where NCCL cannot serve: what `host` does, on device memory. Each collective goes through pinned host memory
/// piece by piece; while the host sums one piece, the device copies the next and the last. Bits, deadlines and errors are
/// the host communicator's. What was started begins when the host waits for it, or for anything later: a GPU is then still
/// busy with what was enqueued before. Collective. `host` is better inline, for its caller waits anyway.
/// Throws    InvalidArgument for a CPU; OutOfMemory.
std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host,
                                                       Device device);

}  // namespace phalanx
