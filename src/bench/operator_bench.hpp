// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/kernel_bench.hpp"
#include "bench/stopwatch.hpp"

namespace phalanx {

struct OperatorBenchOptions {
  std::string only;  ///< operators whose names begin so
  std::int64_t rounds = 31;
  /// Of the largest operand of each case; 0: the sizes that the cases name, which are for CPUs.
  std::size_t least_bytes = 0;
  std::int64_t product_size = 1024;  ///< side of the matrices whose product is the ceiling

  /// What a GPU is measured with: more than its caches hold.
  static constexpr double kGpuMib = 64;
  static constexpr std::int64_t kGpuProductSize = 4096;
};

/// One kernel, timed beside a copy of as many bytes.
struct KernelTime {
  std::string op, name, type;
  std::string by;  ///< own | cublas | cudnn; empty where there is no choice
  std::string direction;
  double seconds = 0;
  double library_seconds =
      0;  ///< by own: of the library's kernel, in turns with ours; 0: it has none
  double copy_seconds = 0;
  double bytes = 0;
  double flops = 0;
  std::string skipped;  ///< why there are no times
};

/// What the machine can do in the run that measures everything else.
struct MachineRates {
  double copy = 0;                        ///< bytes read and written per second
  std::map<std::string, double> product;  ///< operations per second of a matrix product, by type

  /// Of one kernel: the longer of the times that its bytes and its operations take at these rates.
  double floor_seconds(double bytes, double flops, const std::string& type) const;
};

/// Times the kernels of every operator, at the sizes its cases name, on the device of a stream.
class OperatorBench {
 public:
  using OnTime = std::function<void(const KernelTime&)>;

  /// The stream outlives it.
  OperatorBench(const OperatorBenchOptions& options, Stream& stream);

  /// The ceilings. A matrix product counts as the library makes it where there is one: cuBLASLt on a GPU, oneDNN on the CPU.
  /// The products themselves go to `on_time`.
  MachineRates measure_rates(const OnTime& on_time);
  /// Everything else. gemm, matmul and conv once by each who has kernels for them, in turns.
  void measure_kernels(const OnTime& on_time);

 private:
  struct Way {
    KernelChoice choice = KernelChoice::kAuto;
    std::string by;
  };
  bool on_gpu() const noexcept { return stream_.device().backend != nullptr; }
  std::vector<Way> ways_of(const OpSpec& op) const;
  std::vector<std::string> types_of(const OpCases& cases) const;
  void measure_case(const OpCases& cases, const OpCases::Case& c, const std::string& type,
                    std::int64_t n, bool with_backward, const OnTime& on_time);
  bool uses_library(KernelBench& kernel);
  void measure_direction(const OpCases& cases, CaseOperands& operands, bool backward,
                         KernelTime known, const OnTime& on_time);

  const OperatorBenchOptions options_;
  Stream& stream_;
  Stopwatch stopwatch_;
  CopyCeiling copy_;
};

}  // namespace phalanx
