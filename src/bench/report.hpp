// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/operator_bench.hpp"
#include "bench/step_bench.hpp"

namespace phalanx {

/// What a run of the benchmarks measured, printed while it runs and written at its end.
class BenchReport {
 public:
  /// Prints what is measured: the device and, of a GPU, its versions.
  BenchReport(const Stream& stream, std::int64_t rounds);

  /// Prints the ceilings, and the head of the table of kernels.
  void add(const MachineRates& rates);
  /// Prints a line. Products that come before the ceilings, of which they are, wait for them.
  void add(const KernelTime& time);
  /// Prints how many kernels reach what they aim for; nothing on the CPU.
  void print_aims() const;
  /// Prints a step beside the sum of the floors of its kernels, and its kernels.
  void add(const StepTime& step);
  /// Throws    IoError.
  void write_json(const std::string& path) const;

 private:
  void print(const KernelTime& time) const;

  bool on_gpu_;
  bool is_hardware_ = true;
  std::string device_;
  std::int64_t rounds_;
  std::optional<MachineRates> rates_;
  std::vector<KernelTime> times_;
  std::optional<StepTime> step_;
};

/// Measures and prints all of it.
MachineRates run_operator_bench(const OperatorBenchOptions& options, Stream& stream,
                                BenchReport& report);

}  // namespace phalanx
