// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/gradient_reducer.hpp"

#include <fmt/format.h>
#include "comm_checks.hpp"

namespace phalanx::comm_checks {

/// Several steps of gradients that become final in pieces of `piece` elements give the sums over
/// the ranks, of all of them or of what this rank owns; so do the last elements, which are no gradients.
inline void check_reducer(Communicator& comm, std::int64_t count, std::int64_t piece,
                          bool scatter) {
  SCOPED_TRACE(fmt::format("{} elements in pieces of {}", count, piece));
  Stream stream{Device{}};
  Guarded<float> arena(count);
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
      reducer.ready(end, stream);
    }
    const OverlapTimes times = reducer.finish(stream);
    EXPECT_GE(times.communication_seconds, 0);
    EXPECT_GE(times.exposed_seconds, 0);
    EXPECT_GE(times.hidden_share(), 0);
    EXPECT_LE(times.hidden_share(), 1);
    std::vector<Range> ranges = reducer.owned();
    ranges.push_back({gradients, count});
    for (const Range& range : ranges)
      for (std::int64_t i = range.begin; i < range.end; ++i) {
        if (!expect_reduced(arena.data()[i], i + step, ReduceOp::kSum, comm.size())) break;
      }
    if (!scatter) expect_equal_bits(comm, arena.view(), stream);
  }
  EXPECT_TRUE(arena.intact());
  if (!scatter) return;
  // Together the ranks own every gradient, and what each fills comes to all.
  Guarded<float> values(gradients);
  for (std::int64_t i = 0; i < gradients; ++i) values.data()[i] = -1;
  for (const Range& range : reducer.owned())
    for (std::int64_t i = range.begin; i < range.end; ++i) values.data()[i] = static_cast<float>(i);
  reducer.gather(values.view(), stream);
  for (std::int64_t i = 0; i < gradients; ++i)
    ASSERT_EQ(values.data()[i], static_cast<float>(i)) << i;
  EXPECT_TRUE(values.intact());
}

/// What bf16 takes from gradients in one step comes in later steps: the mean over steps is right to far less than one
/// rounding.
inline void check_compression(Communicator& comm, bool scatter) {
  Stream stream{Device{}};
  constexpr std::int64_t kCount = 5000;
  constexpr int kSteps = 64;
  Guarded<float> arena(kCount);
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
    reducer.finish(stream);
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
}

inline void check_reducer_in_any_chunking(Communicator& comm) {
  check_reducer(comm, 600'000, 250'000, true);  // three units
  for (const bool scatter : {false, true})
    for (const std::int64_t count : {0, 1, 1023, 1024, 1025, 7919, 12345})
      for (const std::int64_t piece : {7, 1001, 100'000})
        check_reducer(comm, count, piece, scatter);
}

}  // namespace phalanx::comm_checks
