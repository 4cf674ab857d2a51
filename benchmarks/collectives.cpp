// SPDX-License-Identifier: Apache-2.0
// Times all_reduce of f32 sums against MPI_Allreduce in one run, under mpirun:  collectives
// [least_bytes [most_bytes]]
//
// For each size every method runs in turn, round after round, so that a busy minute of the machine
// meets all alike. A time is the slowest rank's; best and median over the rounds are shown. As
// nccl-tests define them: algbw = bytes / time, busbw = algbw * 2 (n - 1) / n. Each method is
// checked against exact sums at each size before it is timed.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/mpi_runtime.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

struct Method {
  std::string name;
  std::function<void(TensorView)> run;
  std::vector<double> seconds;  // of one call, one entry per round
};

float value(std::int64_t i, int rank) { return static_cast<float>(i % 1021 + rank); }

bool is_right(const Method& method, TensorView data, int rank, int size) {
  float* x = data.as<float>();
  for (std::int64_t i = 0; i < data.numel(); ++i) x[i] = value(i, rank);
  method.run(data);
  int right = 1;
  for (std::int64_t i = 0; i < data.numel(); ++i) {
    const float expected =
        static_cast<float>(size) * value(i, 0) + static_cast<float>(size * (size - 1)) / 2;
    if (x[i] != expected) right = 0;
  }
  MPI_Allreduce(MPI_IN_PLACE, &right, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  std::fill_n(x, data.numel(), 0.0f);
  return right == 1;
}

double time_calls(const Method& method, TensorView data, int calls) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) method.run(data);
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() / calls;
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

// Returns whether every method was right.
bool measure(std::vector<Method>& methods, std::int64_t bytes, MpiRuntime& mpi, Stream& stream) {
  const Tensor tensor({DType::kF32, {bytes / 4}}, stream);
  const int calls = static_cast<int>(std::clamp<std::int64_t>((1 << 20) / bytes, 1, 100));
  bool all_right = true;
  std::vector<bool> right;
  for (Method& method : methods) {
    method.seconds.clear();
    right.push_back(is_right(method, tensor.view(), mpi.rank(), mpi.size()));
    all_right = all_right && right.back();
  }
  for (int round = 0; round < 15; ++round) {
    for (Method& method : methods)
      method.seconds.push_back(time_calls(method, tensor.view(), calls));
  }
  for (std::size_t m = 0; mpi.rank() == 0 && m < methods.size(); ++m) {
    std::ranges::sort(methods[m].seconds);
    const double best = methods[m].seconds.front();
    const double seconds = methods[m].seconds[methods[m].seconds.size() / 2];
    const double algbw = static_cast<double>(bytes) / seconds * 1e-9;
    const double share = 2.0 * (mpi.size() - 1) / mpi.size();
    fmt::print("{:>10} {:<28} {:>11.1f} us {:>11.1f} us {:>8.2f} GB/s {:>8.2f} GB/s  {}\n",
               m == 0 ? human_bytes(bytes) : "", methods[m].name, best * 1e6, seconds * 1e6, algbw,
               algbw * share, right[m] ? "right" : "WRONG");
  }
  return all_right;
}

Method method_of(std::string name, Communicator& comm, Stream& stream) {
  return {
      std::move(name), [&](TensorView data) { comm.all_reduce(data, ReduceOp::kSum, stream); }, {}};
}

int run(int argc, char** argv, MpiRuntime& mpi) {
  const std::int64_t least = argc > 1 ? parse_int(argv[1]) : 4 << 10;
  const std::int64_t most = argc > 2 ? parse_int(argv[2]) : 64 << 20;
  require<ConfigError>(least >= 4 && most >= least,
                       fmt::format("expected sizes of at least 4 bytes, the smaller one "
                                   "first, found {} and {}",
                                   least, most));
  Stream stream{Device{}};
  const auto here = make_mpi_communicator(mpi, Progress::kInline, 60);
  const auto thread = make_mpi_communicator(mpi, Progress::kThread, 60);
  const auto apart = make_mpi_communicator(mpi, Progress::kInline, 60, 1);
  const auto pairs = make_mpi_communicator(mpi, Progress::kInline, 60, 2);
  std::vector<Method> methods;
  methods.push_back({"MPI_Allreduce",
                     [](TensorView data) {
                       MPI_Allreduce(MPI_IN_PLACE, data.data, static_cast<int>(data.numel()),
                                     MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
                     },
                     {}});
  methods.push_back(method_of("inline", *here, stream));
  methods.push_back(method_of("progress thread", *thread, stream));
  methods.push_back(method_of("as if each rank had a node", *apart, stream));
  if (mpi.size() % 2 == 0 && mpi.size() > 2)
    methods.push_back(method_of("as if two ranks had a node", *pairs, stream));

  if (mpi.rank() == 0) {
    fmt::print(
        "{} ranks, 15 rounds; bandwidths of the median\n{:>10} {:<28} {:>14} {:>14} {:>13} "
        "{:>13}\n",
        mpi.size(), "size", "method", "best", "median", "algbw", "busbw");
  }
  bool right = true;
  for (std::int64_t bytes = least; bytes <= most; bytes *= 4)
    right = measure(methods, bytes, mpi, stream) && right;
  return right ? 0 : 1;
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  phalanx::MpiRuntime mpi(argc, argv);
  try {
    return phalanx::run(argc, argv, mpi);
  } catch (const std::exception& e) {
    fmt::print(stderr, "collectives: {}\n", e.what());
    mpi.abort(static_cast<int>(phalanx::ExitCode::kFailed));
  }
}
