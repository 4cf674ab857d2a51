// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace phalanx {

/// What the launcher (Open MPI's mpirun or Slurm's srun) tells a process before there is MPI.
struct LaunchPlace {
  std::string job;  ///< the same for all processes of this start
  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  ///< on this host
};
/// From the environment; nothing without a launcher.
std::optional<LaunchPlace> launch_place();

/// Ends a job of which not all ranks come. What ranks do together before a Communicator watches over them blocks without a
/// deadline: MPI_Init, and making the communicator itself. Each rank notes in a folder of its host how far it is. Whoever has
/// waited too long in a stage logs which ranks of its host have not come to it,
///
///     rank 0 on node1 waited 120.0 s at start-up in MPI_Init; missing: rank 1 on node1
///
/// and ends with ExitCode::kPeerLost, whereupon the launcher ends the others. A host from which nobody is missing waits a
/// little longer, so that the one that can name the missing speaks first. The time is 120 s, or that of the environment
/// variable PHALANX_START_SECONDS, since no configuration has been read yet.
class StartWatch {
 public:
  /// Without a launcher, or with one rank only, it watches nothing.
  StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;
  ~StartWatch();

  /// While it lives, this rank waits for the others in `name`. Stages come in the same order on every rank.
  class Stage {
   public:
    Stage(StartWatch& watch, std::string_view name);
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;
    ~Stage();

   private:
    void wait(std::string name);

    StartWatch& watch_;
    std::mutex mutex_;
    std::condition_variable condition_;
    bool is_over_ = false;
    std::thread thread_;
  };

  /// All ranks have come through the last stage: the note is removed.
  void forget() noexcept;

 private:
  bool is_active() const noexcept { return place_ && place_->size > 1; }
  std::string note_of(int local_rank) const;
  // "rank 1 on node1, rank 3 on node1": those of this host that have not come to the present stage.
  std::string missing() const;

  std::optional<LaunchPlace> place_;
  std::string folder_, host_;
  double seconds_;
  int stage_ = 0;
};

}  // namespace phalanx
