// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "guarded_buffer.hpp"
#include "test_device.hpp"
#include "values.hpp"

namespace phalanx::operators_test {

/// One kernel with guarded memory for each operand, called the way a plan calls it: an absent
/// operand has a null address and TensorType(). On a GPU a run uploads operands and guards, and downloads them again.
class KernelRun {
 public:
  KernelRun(const OpSpec& op, const Attributes& attributes, bool backward)
      : op_(op), attributes_(attributes), backward_(backward) {}

  void add_input(const TensorType& type, const Values& values);
  void add_input(const TensorType& type, std::span<const std::byte> bytes);
  void add_absent_input() { inputs_.push_back(nullptr); }
  void add_output(const TensorType& type);
  void add_absent_output() { outputs_.push_back({nullptr, -1}); }
  /// Lets an output live in the memory of an input of equal type. Replaces the memory it had.
  void share(std::size_t output, std::size_t input);

  /// Makes the kernel's state; a second call makes it anew.
  void prepare();
  /// Runs the kernel on poisoned outputs; those that accumulate start with what set_output gave
  /// them.
  void run(const RandomState& random = {}, std::uint32_t accumulate = 0,
           std::uint64_t parameter_version = 0);

  /// Takes over the bytes of all inputs of a run of the same operands.
  void copy_inputs(const KernelRun& from);
  void set_output(std::size_t i, const Values& values);
  Values input(std::size_t i) const { return load(view(*inputs_[i])); }
  Values output(std::size_t i) const;
  std::span<const std::byte> input_bytes(std::size_t i) const {
    return inputs_[i]->buffer.contents();
  }
  std::span<const std::byte> output_bytes(std::size_t i) const;
  const TensorType& output_type(std::size_t i) const { return output_operand(i).type; }
  std::size_t outputs() const noexcept { return outputs_.size(); }
  bool has_output(std::size_t i) const {
    return outputs_[i].operand != nullptr || outputs_[i].shared_with >= 0;
  }

  /// What the runs so far destroyed: guard bytes, inputs. Empty if nothing.
  const std::string& damage() const noexcept { return damage_; }

 private:
  struct Operand {
    TensorType type;
    GuardedBuffer buffer;
    void* on_device = nullptr;  // of its contents, during a run on a device
  };
  struct Output {
    std::unique_ptr<Operand> operand;
    int shared_with;  // input, or -1
  };

  static TensorView view(Operand& o) { return {o.buffer.data(), o.type}; }
  static TensorView view_on_device(Operand& o) {
    return {tests_cpu() ? o.buffer.data() : o.on_device, o.type};
  }
  Operand& output_operand(std::size_t i) const;
  bool is_shared(std::size_t input) const;
  void check(const GuardedBuffer& workspace,
             const std::vector<std::vector<std::byte>>& inputs_before);

  const OpSpec& op_;
  const Attributes& attributes_;
  bool backward_;
  std::vector<std::unique_ptr<Operand>> inputs_;
  std::vector<Output> outputs_;
  std::unique_ptr<OpState> state_;
  std::string damage_;
};

}  // namespace phalanx::operators_test
