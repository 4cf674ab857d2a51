// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "serve/asio.hpp"
#include "serve/inference.hpp"
#include "serve/shared_arena.hpp"

namespace phalanx {

struct RankGroupOptions {
  int ranks = 1;
  std::string program;  ///< that ranks run, with the argument `serve-rank`
  std::vector<std::string>
      launch;  ///< what starts it, mpirun and its options; empty: the program itself, one rank
  std::string host;          ///< this one's, as RankLayout names it
  bool spans_hosts = false;  ///< some ranks run elsewhere: they are reached by TCP
  std::string device = "auto";
  std::int64_t threads = 1;      ///< per rank
  double start_deadline_s = 60;  ///< for all ranks to appear
  double batch_deadline_s =
      30;  ///< for an answer, once it computes; then the group is taken for hung and started again
  double settled_s =
      60;  ///< ranks that were up so long, or answered a batch, did not fail to start
  int attached_ranks = 0;  ///< > 0: so many ranks come by themselves and cannot be started again
  std::string token;       ///< that these know; empty: a new one
};

/// What became of a batch.
struct BatchResult {
  bool is_lost = false;  ///< the group ended before it answered
  std::string error;     ///< empty: the answers are in the requests' blocks
  std::uint64_t input_ns = 0, infer_ns = 0, output_ns = 0;
};

/// The compute group: ranks of an MPI job of their own, that this process starts, watches and starts again. Open MPI ends a job
/// when one of its ranks dies, so this process is not part of it. All calls and callbacks are in the thread of the io_context.
class RankGroup {
 public:
  struct Rank {
    int node = 0;
    std::string host, device;
    std::int64_t pid = 0;
    bool is_connected = false;
    int outstanding = 0;  ///< batches
    std::uint64_t batches = 0, rows = 0;
    std::chrono::nanoseconds busy{};  ///< computing, summed
  };
  struct Listener {
    std::function<void()> on_up;  ///< all ranks are there; they hold no model
    std::function<void(const std::string& why)> on_lost;  ///< after all batches were reported lost
    std::function<void(const std::string& why)> on_given_up;  ///< and it will not be started again
  };

  RankGroup(net::io_context& io, SharedArena& arena, RankGroupOptions options, Listener listener);
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;
  ~RankGroup();

  void start();
  /// Ranks that are lost from now on are not started again, and nobody gives up because of that.
  void stop_restarting();
  /// Ends the ranks in order; none is started again.
  void shut_down();

  bool is_up() const noexcept;
  const std::vector<Rank>& ranks() const noexcept;
  std::uint64_t restarts() const noexcept;
  /// "NAME,HOST,PORT", for ranks that come by themselves.
  std::string address() const;
  /// Of the model that attached ranks hold; empty: none.
  const std::string& in_place_manifest() const noexcept;

  struct Loading {
    std::uint64_t handle = 0;
    std::string manifest;  ///< JSON
    std::string folder;
    std::int64_t max_batch_size = 1;
  };
  struct Loaded {
    std::string error;               ///< of the first rank that failed; empty: all have it
    double seconds = 0;              ///< of the slowest rank
    std::uint64_t memory_bytes = 0;  ///< per rank
  };
  /// On all ranks. `done` is called once; if the group is lost, with an error.
  void load(const Loading& what, std::function<void(const Loaded&)> done);
  void unload(std::uint64_t handle);

  struct Part {
    SharedBlock input;
    SharedBlock output;
    std::int64_t rows = 0;
    bool is_u8 = false;
  };
  /// On one rank, behind what it has.
  void run(int rank, std::uint64_t handle, std::vector<Part> parts,
           std::function<void(const BatchResult&)> done);

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace phalanx
