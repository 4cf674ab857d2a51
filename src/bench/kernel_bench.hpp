// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/cases.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// One kernel with all its operands in memory, prepared, to be run again and again.
class KernelBench {
 public:
  /// Operands as in Kernel.
  /// Throws    what `prepare` throws; OutOfMemory.
  KernelBench(const OpSpec& op, const Attributes& attributes, bool backward,
              std::vector<ConstTensorView> in, std::vector<TensorView> out, Stream& stream);

  void run();
  /// Of all operands, once.
  double bytes() const;

 private:
  const OpSpec& op_;
  const Attributes& attributes_;
  bool backward_;
  Stream& stream_;
  std::vector<ConstTensorView> in_;
  std::vector<TensorView> out_;
  std::unique_ptr<OpState> state_;
  Buffer workspace_;
};

/// The operands of one case of an operator in the memory format that a plan would choose, filled with made-up values.
class CaseOperands {
 public:
  /// `n`: as in OpCases::Case.
  CaseOperands(const OpCases& cases, const OpCases::Case& c, DType dtype, std::int64_t n,
               Stream& stream);

  /// A kernel on these operands, prepared with the backend's present options. The operands outlive it.
  KernelBench forward();
  KernelBench backward();  ///< what the forward kernel saved is there once that has run

  double forward_flops() const;
  /// A gradient of an operand of rank 2 or more costs a forward pass.
  double backward_flops() const;

 private:
  bool is_absent(std::size_t i) const { return (case_.absent >> i & 1u) != 0; }
  int updated_input(std::size_t output) const;
  bool has_gradient(std::size_t input) const;
  void make_gradients();
  void choose_formats();
  void choose_same_format();
  Tensor filled(const TensorType& type, Fill values);

  const OpCases& cases_;
  const OpCases::Case& case_;
  Stream& stream_;
  std::vector<TensorType> in_, plain_, out_;
  std::vector<Tensor> in_memory_, out_memory_, gradients_;
  std::vector<ConstTensorView> backward_in_;  // made when they are first asked for
  std::vector<TensorView> backward_out_;
  std::uint64_t seed_ = 1;
};

/// The size of a case at which its largest operand has at least `least_bytes`, as near to that as halving and doubling the
/// size in `OpCases::Case::benchmark_n` comes; 0: that size itself.
std::int64_t size_of_case(const OpCases& cases, const OpCases::Case& c, DType dtype,
                          std::size_t least_bytes);

}  // namespace phalanx
