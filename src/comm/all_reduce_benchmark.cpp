// SPDX-License-Identifier: Apache-2.0
#include "comm/all_reduce_benchmark.hpp"

#include <fmt/format.h>

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "comm/communicator.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

/// `data` lies where the method wants it; all methods use the same number of elements.
struct Method {
  std::string name;
  std::byte* memory = nullptr;
  std::function<void(TensorView)> run;
};

float value(std::int64_t i, int rank) { return static_cast<float>(i % 1021 + rank); }

bool is_right(const Method& method, TensorView data, int rank, int size) {
  float* x = data.as<float>();
  for (std::int64_t i = 0; i < data.numel(); ++i) x[i] = value(i, rank);
  method.run(data);
  int right = 1;
  const auto ranks = static_cast<float>(size * (size - 1)) / 2;
  for (std::int64_t i = 0; i < data.numel(); ++i)
    if (x[i] != static_cast<float>(size) * value(i, 0) + ranks) right = 0;
  MPI_Allreduce(MPI_IN_PLACE, &right, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  std::fill_n(x, data.numel(), 0.0f);
  return right == 1;
}

// As a backward pass does before gradients are summed: what is summed has just been written, by its own rank.
void write(TensorView data) { std::fill_n(data.as<float>(), data.numel(), 1.0f); }

// Of one write and one call. The first is not timed: otherwise a method would find in the cache what the one before it used.
double time_calls(const std::function<void(TensorView)>& run, TensorView data, int calls) {
  double seconds = 0;
  for (int i = -1; i < calls; ++i) {
    if (i == 0) MPI_Barrier(MPI_COMM_WORLD);
    const auto begun = Clock::now();
    write(data);
    run(data);
    if (i >= 0) seconds += std::chrono::duration<double>(Clock::now() - begun).count();
  }
  seconds /= calls;
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

// Of a call that follows a write, without the write. Writing alone is timed in the same round.
double time_without_write(const Method& method, TensorView data, int calls) {
  const double both = time_calls(method.run, data, calls);
  const double writing = time_calls([](TensorView) {}, data, calls);
  return std::max(both - writing, 1e-9);
}

std::vector<AllReduceTime> measure(const std::vector<Method>& methods, std::int64_t bytes,
                                   std::int64_t rounds, const MpiRuntime& mpi) {
  const TensorType type(DType::kF32, Shape{bytes / 4});
  const int calls =
      static_cast<int>(std::clamp<std::int64_t>((std::int64_t{128} << 20) / bytes, 4, 200));
  std::vector<AllReduceTime> times;
  std::vector<std::vector<double>> seconds(methods.size());
  for (const Method& method : methods) {
    times.push_back({.method = method.name, .bytes = bytes});
    if (method.name != kCopyMethod)
      times.back().is_right = is_right(method, {method.memory, type}, mpi.rank(), mpi.size());
  }
  for (std::int64_t round = 0; round < rounds; ++round)
    for (std::size_t m = 0; m < methods.size(); ++m)
      seconds[m].push_back(time_without_write(methods[m], {methods[m].memory, type}, calls));
  for (std::size_t m = 0; m < methods.size(); ++m) {
    std::ranges::sort(seconds[m]);
    times[m].best_seconds = seconds[m].front();
    times[m].median_seconds = seconds[m][seconds[m].size() / 2];
  }
  return times;
}

}  // namespace

void benchmark_all_reduce(
    MpiRuntime& mpi, const AllReduceBenchmarkOptions& options,
    const std::function<void(const std::vector<AllReduceTime>& of_one_size)>& report) {
  require(options.least_bytes >= 4 && options.most_bytes >= options.least_bytes,
          fmt::format("expected sizes of at least 4 bytes, the smaller one first, found {} and {}",
                      options.least_bytes, options.most_bytes));
  constexpr double kDeadlineSeconds = 60;
  Stream stream{Device{}};
  const auto here = make_mpi_communicator(mpi, Progress::kInline, kDeadlineSeconds);
  const auto thread = make_mpi_communicator(mpi, Progress::kThread, kDeadlineSeconds);
  const auto apart = make_mpi_communicator(mpi, Progress::kInline, kDeadlineSeconds, 1);
  const auto methods_for = [&](const Buffer& own, const Buffer& other) -> std::vector<Method> {
    const auto method_of = [&](std::string name, std::byte* memory, Communicator& comm) -> Method {
      return {std::move(name), memory,
              [&](TensorView data) { comm.all_reduce(data, ReduceOp::kSum, stream); }};
    };
    return {
        {kLibraryMethod, own.data(),
         [](TensorView data) {
           MPI_Allreduce(MPI_IN_PLACE, data.data, static_cast<int>(data.numel()), MPI_FLOAT,
                         MPI_SUM, MPI_COMM_WORLD);
         }},
        {kCopyMethod, own.data(),
         [&](TensorView data) { std::memcpy(data.data, other.data(), data.type.size_bytes()); }},
        method_of("shared arena", here->allocate(own.size_bytes(), stream), *here),
        method_of("shared arena, thread", thread->allocate(own.size_bytes(), stream), *thread),
        method_of("own memory", own.data(), *here),
        method_of("messages", own.data(), *apart)};
  };
  for (std::int64_t size = options.least_bytes; size <= options.most_bytes; size *= 4) {
    const std::int64_t bytes = size / 4 * 4;
    const Buffer own(static_cast<std::size_t>(bytes), stream);
    const Buffer other(static_cast<std::size_t>(bytes), stream);
    std::fill_n(other.data(), bytes, std::byte{1});
    report(measure(methods_for(own, other), bytes, options.rounds, mpi));
  }
}

}  // namespace phalanx
