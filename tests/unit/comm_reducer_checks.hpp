// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/gradient_reducer.hpp"
#include "comm_checks.hpp"

namespace phalanx::comm_checks {

/// Several steps of gradients that become final in pieces of `piece` elements give the sums over
/// the ranks.
inline void check_reducer(Communicator& comm, std::int64_t count, std::int64_t piece) {
  SCOPED_TRACE(fmt::format("{} elements in pieces of {}", count, piece));
  Stream stream{Device{}};
  Guarded<float> arena(count);
  GradientReducer reducer(comm, arena.view(), 4000, 400);  // bucket ends: 100, 1100, 2100, ...
  EXPECT_EQ(reducer.buckets(), count == 0 ? 0 : count <= 100 ? 1 : 1 + (count - 100 + 999) / 1000);
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
    for (std::int64_t i = 0; i < count; ++i) {
      if (!expect_reduced(arena.data()[i], i + step, ReduceOp::kSum, comm.size())) break;
    }
    expect_equal_bits(comm, arena.view(), stream);
  }
  EXPECT_TRUE(arena.intact());
}

inline void check_reducer_in_any_chunking(Communicator& comm) {
  for (const std::int64_t count : {0, 1, 99, 100, 101, 1100, 12345}) {
    for (const std::int64_t piece : {7, 100, 1001, 100'000}) check_reducer(comm, count, piece);
  }
}

}  // namespace phalanx::comm_checks
