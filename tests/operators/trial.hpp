// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernel_run.hpp"
#include "tolerances.hpp"

namespace phalanx::operators_test {

/// One operator and case in one floating type: what the tests are parameterised by.
struct Subject {
  const OpCases* cases = nullptr;
  const OpCases::Case* chosen = nullptr;
  DType dtype = DType::kF32;
  bool has_weights =
      false;  ///< the operator's weights are copies of parameters: their gradients are f32

  const OpSpec& op() const { return *cases->op; }
  Precision precision() const {
    if (dtype != DType::kF32) return Precision::kBf16;
    return tests_tf32() && std::ranges::find(kProducts, op().name) != kProducts.end()
               ? Precision::kTf32
               : Precision::kF32;
  }
  /// Of single elements.
  double tolerance() const {
    return std::max(dtype == DType::kF32 ? chosen->tolerance_f32 : chosen->tolerance_bf16,
                    tolerances(precision()).element);
  }
  std::vector<std::int64_t> sizes() const;
  /// Types of the inputs at size n, plain. Those that the case leaves out are TensorType().
  std::vector<TensorType> input_types(std::int64_t n) const;
  bool is_absent(std::size_t input) const { return (chosen->absent >> input & 1u) != 0; }
  bool is_weight(std::size_t input) const {
    return has_weights && (op().low_precision_weights >> input & 1u) != 0;
  }
};

/// Every operator, case and type of this build. A case whose inputs infer refuses in bf16 is tested
/// in f32 only.
std::vector<Subject> all_subjects();

/// Channel blocks of all operands of a forward kernel.
struct Format {
  std::vector<TensorType> in, out;
  std::string name;  ///< "plain", "/16"
};

/// A subject at one size, with values and the oracle's answer.
class Trial {
 public:
  /// nullopt if infer refuses size 0: an operator may document that.
  static std::optional<Trial> make(const Subject& subject, std::int64_t n);

  const Subject& subject() const noexcept { return subject_; }
  const OpSpec& op() const { return subject_.op(); }
  const Attributes& attributes() const { return subject_.chosen->attributes; }
  const std::vector<TensorType>& in() const noexcept { return in_; }
  const std::vector<TensorType>& out() const noexcept { return out_; }
  const std::vector<Values>& x() const noexcept { return x_; }  ///< empty where an input is absent
  bool is_absent(std::size_t input) const { return subject_.is_absent(input); }
  bool has_reference() const { return subject_.cases->reference != nullptr; }

  /// Outputs of the oracle; saved ones mean nothing.
  std::vector<Values> oracle(const std::vector<Values>& x) const;
  /// Other values of the same types, for the same size.
  std::vector<Values> draw_inputs(std::uint64_t seed) const;

  /// Every combination of memory formats that a plan can ask of this operator; the plain one first.
  std::vector<Format> formats() const;

  /// Where an operator has no more outputs than it may save (batch_norm in inference), it saves
  /// none.
  bool is_saved(std::size_t output) const {
    const auto saved = static_cast<std::size_t>(op().saved_outputs);
    return out_.size() > saved && output + saved >= out_.size();
  }
  /// The input that an output updates in place, or -1.
  int updated_input(std::size_t output) const;
  /// Whether an output can have a gradient.
  bool has_gradient(std::size_t output) const {
    return !is_saved(output) && updated_input(output) < 0 && is_float(out_[output].dtype);
  }
  /// Whether an input is given and can have a gradient.
  bool is_differentiable(std::size_t input) const {
    return (op().differentiable >> input & 1u) != 0 && !is_absent(input) &&
           is_float(in_[input].dtype);
  }
  /// Scalar operations of one call of the oracle, roughly.
  double cost() const;

  /// A forward kernel over these inputs, prepared.
  KernelRun forward(const Format& format) const { return forward(format, x_); }
  KernelRun forward(const Format& format, const std::vector<Values>& x) const;
  /// The backward kernel, prepared, after a forward run. `dy` is empty for gradients of outputs
  /// that nobody wants; bit i of `wanted` asks for the gradient of input i.
  KernelRun backward(const Format& format, const KernelRun& forward, const std::vector<Values>& dy,
                     std::uint32_t wanted = kAllOperands) const;
  /// The rows [first, n) of this trial: of every operand that has as many rows as input 0.
  Trial rows_from(std::int64_t first) const;
  /// Random gradients of all outputs that can have one.
  std::vector<Values> draw_gradients() const;

 private:
  explicit Trial(const Subject& subject) : subject_(subject) {}
  void add_format(std::vector<Format>& formats, std::span<const std::int64_t> in_blocks,
                  std::span<const std::int64_t> out_blocks) const;
  void add_same_format(std::vector<Format>& formats, std::int64_t block) const;
  void add_chosen_format(std::vector<Format>& formats, std::int64_t block) const;

  Subject subject_;
  std::vector<TensorType> in_, out_;
  std::vector<Values> x_;
};

}  // namespace phalanx::operators_test
