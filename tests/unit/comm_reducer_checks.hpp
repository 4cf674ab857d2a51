// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/gradient_reducer.hpp"

#include <fmt/format.h>

#include <span>
#include <vector>

#include "comm_checks.hpp"

namespace phalanx::comm_checks {

/// A vector that the host looks at; with a stream of a GPU also one there, which is what is reduced.
class Values {
 public:
  Values(std::int64_t count, Stream& stream) : stream_(stream), on_host_(count) {
    if (stream.device().backend != nullptr)
      on_device_ = Tensor({DType::kF32, {count}}, stream);
    else
      is_on_host_ = true;
  }

  float* data() { return on_host_.data(); }
  TensorView view() { return is_on_host_ ? on_host_.view() : on_device_.view(); }
  TensorView host_view() { return on_host_.view(); }
  bool intact() const { return on_host_.intact(); }

  /// What the host has written becomes what is reduced, and back.
  void send(std::int64_t begin, std::int64_t end) {
    if (!is_on_host_)
      upload(bytes(begin, end), on_device_.view().as<std::byte>() + begin * 4, stream_);
  }
  void fetch(Communicator& comm) {
    if (is_on_host_) return;
    comm.synchronize(stream_);
    download(on_device_.view().as<std::byte>(), bytes(0, on_device_.view().numel()), stream_);
  }

 private:
  std::span<std::byte> bytes(std::int64_t begin, std::int64_t end) {
    return std::as_writable_bytes(std::span(data() + begin, data() + end));
  }

  Stream& stream_;
  Guarded<float> on_host_;
  Tensor on_device_;
  bool is_on_host_ = false;
};

inline void expect_sound(const OverlapTimes& times) {
  EXPECT_GE(times.communication_seconds, 0);
  EXPECT_GE(times.exposed_seconds, 0);
  EXPECT_GE(times.hidden_share(), 0);
  EXPECT_LE(times.hidden_share(), 1);
}

/// Several steps of gradients that become final in pieces of `piece` elements give the sums over
/// the ranks, of all of them or of what this rank owns; so do the last elements, which are no gradients.
inline void check_reducer(Communicator& comm, std::int64_t count, std::int64_t piece, bool scatter,
                          Stream& stream) {
  SCOPED_TRACE(fmt::format("{} elements in pieces of {}", count, piece));
  Stream cpu{Device{}};
  Values arena(count, stream);
  const std::int64_t gradients = std::max<std::int64_t>(count - 16, 0);
  GradientReducer reducer(comm, arena.view(),
                          {.bucket_bytes = 8192,  // bucket ends: 1024, 3072, 5120, ...
                           .first_bucket_bytes = 400,
                           .gradients = gradients,
                           .scatter = scatter},
                          stream);
  if (scatter) {  // units of 1 MiB, and the rest
    EXPECT_EQ(reducer.buckets(),
              (gradients + (1 << 18) - 1) / (1 << 18) + (count > gradients ? 1 : 0));
  } else {
    EXPECT_EQ(reducer.buckets(), count == 0      ? 0
                                 : count <= 1024 ? 1
                                                 : 1 + (count - 1024 + 2047) / 2048);
  }
  for (int step = 0; step < 3; ++step) {
    for (std::int64_t end = 0; end < count;) {
      const std::int64_t begin = end;
      end = std::min(end + piece, count);
      for (std::int64_t i = begin; i < end; ++i)
        arena.data()[i] = input<float>(i + step, comm.rank());
      arena.send(begin, end);
      reducer.ready(end, stream);
    }
    expect_sound(reducer.finish(stream));
    arena.fetch(comm);
    const OverlapTimes times = reducer.measure();
    expect_sound(times);
    EXPECT_EQ(reducer.measure().exposed_seconds, times.exposed_seconds);
    EXPECT_EQ(static_cast<std::int64_t>(reducer.last_step().size()), reducer.buckets());
    for (const GradientReducer::Bucket& bucket : reducer.last_step()) {
      EXPECT_LE(bucket.times.queued, bucket.times.begun);
      EXPECT_LE(bucket.times.begun, bucket.times.ended);
      EXPECT_GE(bucket.exposed_seconds, 0);
    }
    std::vector<Range> ranges = reducer.owned();
    ranges.push_back({gradients, count});
    for (const Range& range : ranges)
      for (std::int64_t i = range.begin; i < range.end; ++i) {
        if (!expect_reduced(arena.data()[i], i + step, ReduceOp::kSum, comm.size())) break;
      }
    if (!scatter) expect_equal_bits(comm, arena.host_view(), cpu);
  }
  EXPECT_TRUE(arena.intact());
  if (!scatter) return;
  // Together the ranks own every gradient, and what each fills comes to all.
  Values values(gradients, stream);
  std::vector<float> owned;
  for (std::int64_t i = 0; i < gradients; ++i) values.data()[i] = -1;
  for (const Range& range : reducer.owned())
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      values.data()[i] = static_cast<float>(i);
      owned.push_back(static_cast<float>(i));
    }
  values.send(0, gradients);
  reducer.gather(values.view(), stream);
  values.fetch(comm);
  for (std::int64_t i = 0; i < gradients; ++i)
    ASSERT_EQ(values.data()[i], static_cast<float>(i)) << i;
  EXPECT_TRUE(values.intact());
  // And so it does for rank 0 where nobody has more than what it owns.
  Values mine(std::ssize(owned), stream), whole(comm.rank() == 0 ? gradients : 0, stream);
  std::ranges::copy(owned, mine.data());
  mine.send(0, std::ssize(owned));
  reducer.collect(mine.view(), whole.view(), stream);
  whole.fetch(comm);
  for (std::int64_t i = 0; i < whole.view().numel(); ++i)
    ASSERT_EQ(whole.data()[i], static_cast<float>(i)) << i;
}

/// What bf16 takes from gradients in one step comes in later steps: the mean over steps is right to far less than one
/// rounding. Returns the last step's sums.
inline std::vector<float> check_compression(Communicator& comm, bool scatter, Stream& stream) {
  constexpr std::int64_t kCount = 5000;
  constexpr int kSteps = 64;
  Values arena(kCount, stream);
  GradientReducer reducer(comm, arena.view(),
                          {.bucket_bytes = 8192, .scatter = scatter, .compress = true}, stream);
  std::vector<double> sums(kCount);
  double largest_error_of_one = 0;
  const auto expected = [&](std::int64_t i) {
    double sum = 0;
    for (int r = 0; r < comm.size(); ++r) sum += static_cast<double>(input<float>(i, r));
    return sum;
  };
  for (int step = 0; step < kSteps; ++step) {
    for (std::int64_t i = 0; i < kCount; ++i) arena.data()[i] = input<float>(i, comm.rank());
    arena.send(0, kCount);
    reducer.finish(stream);
    arena.fetch(comm);
    for (const Range& range : reducer.owned())
      for (std::int64_t i = range.begin; i < range.end; ++i) {
        sums[static_cast<std::size_t>(i)] += static_cast<double>(arena.data()[i]);
        if (step == 0)
          largest_error_of_one = std::max(
              largest_error_of_one, std::abs(static_cast<double>(arena.data()[i]) - expected(i)));
      }
  }
  double largest_error_of_mean = 0;
  for (const Range& range : reducer.owned())
    for (std::int64_t i = range.begin; i < range.end; ++i)
      largest_error_of_mean =
          std::max(largest_error_of_mean,
                   std::abs(sums[static_cast<std::size_t>(i)] / kSteps - expected(i)));
  EXPECT_GT(largest_error_of_one, 1.0);  // of inputs up to 3335, rounded to 8 bits
  // The sum over ranks is itself rounded to bf16, once, which no feedback makes up for.
  EXPECT_LT(largest_error_of_mean, comm.size() == 1 ? largest_error_of_one / 30 : 40.0);
  std::vector<float> sums_of_last;
  for (const Range& range : reducer.owned())
    sums_of_last.insert(sums_of_last.end(), arena.data() + range.begin, arena.data() + range.end);
  return sums_of_last;
}

inline void check_reducer_in_any_chunking(Communicator& comm) {
  Stream stream{Device{}};
  check_reducer(comm, 600'000, 250'000, true, stream);  // three units
  for (const bool scatter : {false, true})
    for (const std::int64_t count : {0, 1, 1023, 1024, 1025, 7919, 12345})
      for (const std::int64_t piece : {7, 1001, 100'000})
        check_reducer(comm, count, piece, scatter, stream);
}

/// The same on a GPU, where each piece costs more.
inline void check_reducer_on_gpu(Communicator& comm, Stream& stream) {
  check_reducer(comm, 600'000, 250'000, true, stream);
  for (const bool scatter : {false, true})
    for (const std::int64_t count : {0, 1, 1025, 7919})
      for (const std::int64_t piece : {1001, 100'000})
        check_reducer(comm, count, piece, scatter, stream);
}

/// A GPU gives the bits that the host gives.
inline void check_compression_on_gpu(Communicator& comm, Stream& stream) {
  Stream cpu{Device{}};
  for (const bool scatter : {false, true})
    EXPECT_EQ(check_compression(comm, scatter, stream), check_compression(comm, scatter, cpu));
}

}  // namespace phalanx::comm_checks
