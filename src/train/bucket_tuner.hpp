// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/gradient_reducer.hpp"
#include "train/config.hpp"

namespace phalanx {

/// Bytes of a gradient bucket that the configuration asks for, or that tuning begins with.
std::size_t first_bucket_bytes(const TrainConfig& config);

/// Finds the size of gradient buckets with which a step takes the least time (`bucket = auto`): the first steps of a run
/// try one size after the other. Results do not depend on the size.
class BucketTuner {
 public:
  /// Called by every rank. `reducer` may be null: there is nothing to tune. The other arguments outlive the tuner.
  BucketTuner(const TrainConfig& config, GradientReducer* reducer, Communicator& comm,
              Stream& stream);

  /// To be called after every step, on every rank, with the time of the step without waiting for data. True once, when the
  /// choice has been made.
  bool after_step(double seconds);

  struct Trial {
    std::size_t bucket_bytes = 0;
    double seconds = 0;  ///< median step, of the slowest rank
  };
  const std::vector<Trial>& trials() const noexcept { return trials_; }  ///< empty: nothing to tune
  bool is_done() const noexcept { return present_ >= trials_.size(); }
  std::size_t bucket_bytes() const noexcept { return bucket_bytes_; }  ///< in use

 private:
  static constexpr std::size_t kWarmUp = 3;  // first steps of a run, which prepare kernels
  static constexpr std::size_t kSteps = 5;   // for each size, of which the first does not count

  void use(std::size_t bucket_bytes);
  void choose();

  GradientReducer* reducer_;
  Communicator& comm_;
  Stream& stream_;
  std::size_t bucket_bytes_;
  std::vector<Trial> trials_;
  std::size_t present_ = 0;  // trial
  std::size_t steps_ = 0;    // to leave out before it begins
  std::vector<double> seconds_;
};

}  // namespace phalanx
