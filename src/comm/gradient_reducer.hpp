// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "comm/communicator.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// How much of a step's communication ran beside the backward pass.
struct OverlapTimes {
  double communication_seconds = 0;  ///< sum over buckets of the time the collective itself took
  double exposed_seconds =
      0;  ///< time the caller spent in starting the collectives and waiting for them
  OverlapTimes& operator+=(const OverlapTimes& other) noexcept {
    communication_seconds += other.communication_seconds;
    exposed_seconds += other.exposed_seconds;
    return *this;
  }
  /// Share of the communication that was hidden, 0 ... 1.
  double hidden_share() const noexcept;
};

/// Sums one step's gradients over the ranks while the rest of the backward pass still runs.
///
/// Gradients live in one contiguous arena in the order in which they become final, so a bucket is a
/// slice of it: nothing is packed, and all ranks agree on the order by construction. The first
/// bucket is small, so that communication starts early.
class GradientReducer {
 public:
  /// `arena` is one f32 tensor of rank 1 and must outlive the reducer, as must `comm`.
  GradientReducer(Communicator& comm, TensorView arena, std::size_t bucket_bytes,
                  std::size_t first_bucket_bytes = std::size_t{1} << 20);

  /// Everything in the arena before `end` (in elements) is final. Starts every bucket that is now
  /// complete.
  void ready(std::int64_t end, Stream& compute);
  /// Starts what is left and waits until the whole arena holds the sums. Resets for the next step.
  OverlapTimes finish(Stream& compute);

  /// One bucket of the step that finish() ended last.
  struct Bucket {
    RequestTimes times;
    double exposed_seconds = 0;  ///< of the collective, while the caller waited
  };
  const std::vector<Bucket>& last_step() const noexcept { return last_step_; }

  std::int64_t buckets() const noexcept { return static_cast<std::int64_t>(ends_.size()); }

 private:
  void start_until(std::int64_t end, Stream& compute);

  Communicator& comm_;
  TensorView arena_;
  std::vector<std::int64_t> ends_;  // of each bucket, in elements
  std::vector<Request> pending_;
  std::vector<Bucket> last_step_;
  std::size_t next_ = 0;        // bucket to start
  double exposed_seconds_ = 0;  // spent in starting, which is all of it for an inline communicator
  std::vector<std::chrono::steady_clock::duration> starting_;  // the same, per bucket
};

}  // namespace phalanx
