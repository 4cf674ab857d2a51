// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
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

struct GradientReducerOptions {
  std::size_t bucket_bytes = std::size_t{25} << 20;
  std::size_t first_bucket_bytes = std::size_t{1}
                                   << 20;  ///< small, so that communication starts early
  std::int64_t gradients = -1;  ///< elements of the arena that are gradients; less than 0: all
  /// Every rank gets the sums of what it owns only (ZeRO stage 1): see owned().
  bool scatter = false;
  /// Gradients travel as bf16, which halves the bytes. What rounding took from a gradient is added to the same gradient of
  /// the next step (error feedback), so that it is late but not lost.
  ///
  /// Source    Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al., ICML 2019.
  bool compress = false;
};

/// Sums one step's gradients over the ranks while the rest of the backward pass still runs.
///
/// Gradients live at the start of one contiguous arena in the order in which they become final, so a bucket is a slice of
/// it: nothing is packed, and all ranks agree on the order by construction. What follows them in the arena is summed with
/// the last bucket, always in full precision and for all ranks. Buckets begin at multiples of kPartBlock elements.
///
/// Scattered, gradients are cut into units of a MiB or, for very many ranks, more; a rank owns its part_of each unit, and
/// buckets are whole units. So what a rank owns does not depend on the buckets, and every bucket keeps all ranks busy.
class GradientReducer {
 public:
  using Options = GradientReducerOptions;

  /// `arena` is one f32 tensor of rank 1, where the stream's device is, and must outlive the reducer, as must `comm` and
  /// `stream`. Memory of Communicator::allocate is reduced fastest. Other calls take streams of the same device; memory of the
  /// reducer's own is used in their order.
  GradientReducer(Communicator& comm, TensorView arena, const Options& options, Stream& stream);

  /// Everything in the arena before `end` (in elements) is final. Starts every bucket that is now
  /// complete.
  void ready(std::int64_t end, Stream& compute);
  /// Starts what is left and waits until the whole arena holds the sums. Resets for the next step. On a GPU it is the stream
  /// that waits, and what is returned is what the host saw of it: see measure().
  /// Within a capture nothing is timed; then all times are 0.
  OverlapTimes finish(Stream& compute);
  /// In the place of ready() and finish(), for a step whose captured sums were launched again: its times are not known.
  void forget_times();
  /// The times of the last step, of finish() and of a gather() since then, once `compute` was synchronised by the communicator.
  /// On a GPU exposed is the time for which the stream had nothing to do but to wait for sums or for what was gathered, by the
  /// device's clock. On the CPU it is what the two returned.
  OverlapTimes measure();

  /// The gradients of which this rank has the sums, in ascending order: all, unless they are scattered.
  const std::vector<Range>& owned() const noexcept { return owned_; }
  std::int64_t gradients() const noexcept { return options_.gradients; }  ///< elements
  bool is_first() const noexcept { return comm_.rank() == 0; }
  bool scatters() const noexcept { return options_.scatter; }
  /// Of another arena, in which every rank has filled what it owns, everybody gets everything. Collective; waits, as finish().
  OverlapTimes gather(TensorView arena, Stream& stream);
  /// The same where each rank holds no more than what it owns, end to end in `mine`. Rank 0 gets `whole`, which is not looked
  /// at on other ranks; none of them needs more memory than a unit.
  void collect(ConstTensorView mine, TensorView whole, Stream& stream);

  /// Between steps; on every rank alike.
  void set_bucket_bytes(std::size_t bucket_bytes);
  /// What rounding took so far is not added any more. In the order of the constructor's stream.
  void forget_rounding();

  /// One bucket of the step that finish() ended last, as measure() found it.
  struct Bucket {
    RequestTimes times;
    double exposed_seconds = 0;  ///< of the collective, while the caller waited
  };
  const std::vector<Bucket>& last_step() const noexcept { return last_step_; }

  std::int64_t buckets() const noexcept { return static_cast<std::int64_t>(ranges_.size()); }

 private:
  struct Pending {
    std::size_t bucket;
    Request request;
    RequestTimes times{};  // as wait() said
  };

  void cut_buckets();
  void cut_units();
  void start_until(std::int64_t end, Stream& compute);
  void start(std::size_t bucket, Stream& compute);
  bool is_gradient(const Range& bucket) const noexcept { return bucket.end <= options_.gradients; }
  void round(const Range& bucket, Stream& compute);
  void widen(Stream& compute);
  /// Places in the stream that waits: before the first collective, and behind each.
  using Marks = std::vector<std::unique_ptr<Event>>;
  static void mark(Marks& marks, std::size_t index, Stream& compute);
  /// When a request ran, as far as that can be known, and what that adds to the communication: those of a group ran as one.
  RequestTimes measured(const Pending& finished, const RequestTimes& before,
                        OverlapTimes& times) const;
  TensorView slice(const Range& range) const noexcept;
  TensorView rounded_slice(const Range& range) const noexcept;

  Communicator& comm_;
  TensorView arena_;
  Options options_;
  std::int64_t unit_ = 0;              // elements
  std::vector<Range> units_;           // of scattered gradients
  std::vector<Range> ranges_, owned_;  // of each bucket; of this rank
  TensorView rounded_;                 // bf16, compressing only
  Tensor residual_;                    // what rounding took, compressing only
  Stream& stream_;
  std::vector<Pending> pending_;
  std::vector<Pending> finished_, gathered_;  // of the last step, on a GPU
  Marks marks_, gather_marks_;                // of buckets; of a gather() as a whole
  OverlapTimes times_;                        // of the last step
  std::vector<Bucket> last_step_;
  std::size_t next_ = 0;        // bucket to start
  double exposed_seconds_ = 0;  // spent in starting, which is all of it for an inline communicator
  std::vector<std::chrono::steady_clock::duration> starting_;  // the same, per bucket
};

}  // namespace phalanx
