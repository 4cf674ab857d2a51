// SPDX-License-Identifier: Apache-2.0
// What every communicator must do, checked against sums on the host. Used by the tests with threads
// and with MPI.
#pragma once

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"

namespace phalanx::comm_checks {

/// A vector with guard bytes on both sides.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count)
      : bytes_(2 * kGuard + static_cast<std::size_t>(count) * sizeof(T), kFill), count_(count) {}

  T* data() { return reinterpret_cast<T*>(bytes_.data() + kGuard); }
  TensorView view() { return {data(), {dtype_of<T>, {count_}}}; }
  TensorView view(const Shape& shape) { return {data(), {dtype_of<T>, shape}}; }
  bool intact() const {
    const auto is_fill = [](unsigned char b) { return b == kFill; };
    return std::all_of(bytes_.begin(), bytes_.begin() + kGuard, is_fill) &&
           std::all_of(bytes_.end() - kGuard, bytes_.end(), is_fill);
  }

 private:
  static constexpr std::size_t kGuard = 64;
  static constexpr unsigned char kFill = 0xa5;
  std::vector<unsigned char> bytes_;
  std::int64_t count_;
};

/// Element i of what rank `rank` puts in: thirds, so that f32 sums round, or integers beyond the
/// range of f64.
template <class T>
T input(std::int64_t i, int rank) {
  const std::int64_t x = (i * 7919 + rank * 104729 + 17) % 20011 - 10005;
  if constexpr (std::is_same_v<T, float>) return static_cast<float>(x) / 3.0f;
  if constexpr (std::is_same_v<T, std::int64_t>) return x * ((std::int64_t{1} << 46) + 1);
  return static_cast<T>(x);
}

/// Returns whether it is.
template <class T>
bool expect_reduced(T found, std::int64_t i, ReduceOp op, int size) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, std::int64_t>;
  Wide expected = input<T>(i, 0);
  double magnitude = std::abs(static_cast<double>(expected));
  for (int r = 1; r < size; ++r) {
    const Wide x = input<T>(i, r);
    magnitude += std::abs(static_cast<double>(x));
    if (op == ReduceOp::kSum) expected += x;
    if (op == ReduceOp::kMax) expected = std::max(expected, x);
    if (op == ReduceOp::kMin) expected = std::min(expected, x);
  }
  bool ok = found == expected;
  if constexpr (std::is_same_v<T, float>) {
    const double tolerance =
        op == ReduceOp::kSum ? magnitude * size * std::numeric_limits<float>::epsilon() : 0.0;
    ok = std::abs(found - expected) <= tolerance;
  }
  if (!ok) ADD_FAILURE() << found << " for " << expected << " at element " << i;
  return ok;
}

/// All ranks hold the same bits, by comparing each rank's with those of rank 0.
inline void expect_equal_bits(Communicator& comm, TensorView data, Stream& stream) {
  const auto* bytes = data.as<std::byte>();
  const std::vector<std::byte> mine(bytes, bytes + data.type.size_bytes());
  std::vector<std::byte> first = mine;
  comm.broadcast({first.data(), data.type}, 0, stream);
  EXPECT_EQ(first, mine);
}

template <class T>
void check_all_reduce(Communicator& comm, std::int64_t count, ReduceOp op) {
  Stream stream{Device{}};
  Guarded<T> data(count);
  for (std::int64_t i = 0; i < count; ++i) data.data()[i] = input<T>(i, comm.rank());
  comm.all_reduce(data.view(), op, stream);
  for (std::int64_t i = 0; i < count; ++i) {
    if (!expect_reduced(data.data()[i], i, op, comm.size())) break;
  }
  EXPECT_TRUE(data.intact());
  expect_equal_bits(comm, data.view(), stream);
}

template <class T>
void check_broadcast(Communicator& comm, std::int64_t count) {
  Stream stream{Device{}};
  for (int root = 0; root < comm.size(); ++root) {
    Guarded<T> data(count);
    for (std::int64_t i = 0; i < count; ++i) data.data()[i] = input<T>(i, comm.rank());
    comm.broadcast(data.view(), root, stream);
    for (std::int64_t i = 0; i < count; ++i)
      ASSERT_TRUE(data.data()[i] == input<T>(i, root)) << i << ", root " << root;
    EXPECT_TRUE(data.intact());
  }
}

template <class T>
void check_all_gather(Communicator& comm, std::int64_t count) {
  Stream stream{Device{}};
  Guarded<T> mine(count), all(count * comm.size());
  for (std::int64_t i = 0; i < count; ++i) mine.data()[i] = input<T>(i, comm.rank());
  comm.all_gather(mine.view(), all.view({comm.size(), count}), stream);
  for (std::int64_t i = 0; i < count * comm.size(); ++i) {
    ASSERT_TRUE(all.data()[i] == input<T>(i % count, static_cast<int>(i / count))) << i;
  }
  EXPECT_TRUE(mine.intact() && all.intact());
}

/// Where the data of a check lies: memory of its own, or a slice of memory that ranks share.
template <class T>
class Place {
 public:
  Place(Communicator& comm, std::int64_t count, bool is_shared) : own_(is_shared ? 0 : count) {
    Stream stream{Device{}};
    data_ = own_.data();
    if (is_shared)
      data_ = reinterpret_cast<T*>(
                  comm.allocate(static_cast<std::size_t>(count + 40) * sizeof(T), stream)) +
              20;
    view_ = {data_, {dtype_of<T>, {count}}};
  }
  T* data() const { return data_; }
  TensorView view() const { return view_; }
  bool intact() const { return own_.intact(); }

 private:
  Guarded<T> own_;
  T* data_;
  TensorView view_;
};

template <class T>
void check_parts(Communicator& comm, std::int64_t count, ReduceOp op, bool is_shared) {
  Stream stream{Device{}};
  const Place<T> sums(comm, count, is_shared);
  const Place<T> data(comm, count, is_shared);
  for (std::int64_t i = 0; i < count; ++i)
    sums.data()[i] = data.data()[i] = input<T>(i, comm.rank());
  comm.all_reduce(sums.view(), op, stream);
  comm.wait(comm.start_reduce_scatter(data.view(), op, stream, "parts"));
  const Range part = part_of(count, comm.rank(), comm.size());
  EXPECT_EQ(0, std::memcmp(data.data() + part.begin, sums.data() + part.begin,
                           static_cast<std::size_t>(part.size()) * sizeof(T)));
  for (std::int64_t i = 0; i < count; ++i)
    if (i < part.begin || i >= part.end) data.data()[i] = T{};
  comm.barrier();
  comm.wait(comm.start_all_gather(data.view(), stream, "parts"));
  for (std::int64_t i = 0; i < count; ++i) {
    ASSERT_TRUE(data.data()[i] == sums.data()[i]) << i;
    if (!expect_reduced(sums.data()[i], i, op, comm.size())) break;
  }
  EXPECT_TRUE(data.intact() && sums.intact());
}

inline const std::vector<std::int64_t> kSizes{0, 1, 3, 1023, (1 << 20) + 3};

template <class T>
void check_collectives(Communicator& comm) {
  for (const std::int64_t count : kSizes) {
    SCOPED_TRACE(
        fmt::format("{} elements of {} on {} ranks", count, name(dtype_of<T>), comm.size()));
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      if (op != ReduceOp::kSum && count > 10'000) continue;  // the same way through the algorithms
      check_all_reduce<T>(comm, count, op);
      for (const bool is_shared : {false, true}) check_parts<T>(comm, count, op, is_shared);
    }
    check_broadcast<T>(comm, count);
    check_all_gather<T>(comm, count);
    comm.barrier();
  }
}

/// Requests may be waited for in any order, and their times follow each other.
inline void check_requests(Communicator& comm) {
  Stream stream{Device{}};
  std::vector<Guarded<float>> data(5, Guarded<float>(1000));
  std::vector<Request> requests;
  for (auto& d : data) {
    for (int i = 0; i < 1000; ++i) d.data()[i] = input<float>(i, comm.rank());
    requests.push_back(comm.start_all_reduce(d.view(), ReduceOp::kSum, stream, "test"));
  }
  for (std::size_t k = data.size(); k-- > 0;) {
    const RequestTimes times = comm.wait(requests[k]);
    EXPECT_LE(times.queued, times.begun);
    EXPECT_LE(times.begun, times.ended);
    for (int i = 0; i < 1000; ++i) {
      if (!expect_reduced(data[k].data()[i], i, ReduceOp::kSum, comm.size())) break;
    }
    EXPECT_TRUE(data[k].intact());
  }
  EXPECT_THROW(comm.wait(requests[0]), InvalidArgument);
  EXPECT_NO_THROW(comm.poll());
}

}  // namespace phalanx::comm_checks
