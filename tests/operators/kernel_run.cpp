// SPDX-License-Identifier: Apache-2.0
#include "kernel_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace phalanx::operators_test {
namespace {

/// A copy of guarded memory on the device that is tested, and what it holds after a run. On the CPU it is that memory.
class DeviceCopy {
 public:
  /// The contents start `misalignment` bytes behind a multiple of 256.
  DeviceCopy(GuardedBuffer& buffer, std::size_t misalignment)
      : buffer_(buffer),
        misalignment_(misalignment),
        copy_(tests_cpu() ? 0 : buffer.all().size() + misalignment, test_stream()) {
    if (!tests_cpu()) upload(buffer_.all(), copy_.data() + misalignment_, test_stream());
  }
  void fetch() {
    if (!tests_cpu()) download(copy_.data() + misalignment_, buffer_.all(), test_stream());
  }
  std::byte* contents() {
    static_assert(GuardedBuffer::kGuardBytes == 256);
    return tests_cpu() ? buffer_.data() : copy_.data() + misalignment_ + GuardedBuffer::kGuardBytes;
  }

 private:
  GuardedBuffer& buffer_;
  std::size_t misalignment_;
  Buffer copy_;
};

}  // namespace

void KernelRun::add_input(const TensorType& type, const Values& values) {
  inputs_.push_back(std::make_unique<Operand>(Operand{type, GuardedBuffer(type.size_bytes())}));
  store(values, type, inputs_.back()->buffer.data());
}

void KernelRun::add_input(const TensorType& type, std::span<const std::byte> bytes) {
  inputs_.push_back(std::make_unique<Operand>(Operand{type, GuardedBuffer(type.size_bytes())}));
  std::ranges::copy(bytes, inputs_.back()->buffer.data());
}

void KernelRun::add_output(const TensorType& type) {
  outputs_.push_back(
      {std::make_unique<Operand>(Operand{type, GuardedBuffer(type.size_bytes())}), -1});
}

void KernelRun::share(std::size_t output, std::size_t input) {
  require(output_operand(output).type == inputs_[input]->type,
          "operands that share memory have equal types");
  outputs_[output] = {nullptr, static_cast<int>(input)};
}

KernelRun::Operand& KernelRun::output_operand(std::size_t i) const {
  const Output& o = outputs_[i];
  return o.shared_with >= 0 ? *inputs_[static_cast<std::size_t>(o.shared_with)] : *o.operand;
}

bool KernelRun::is_shared(std::size_t input) const {
  return std::ranges::any_of(
      outputs_, [&](const Output& o) { return o.shared_with == static_cast<int>(input); });
}

void KernelRun::prepare() {
  const Prepare make =
      backward_ ? test_kernels(op_).prepare_backward : test_kernels(op_).prepare_forward;
  if (make == nullptr) return;
  std::vector<TensorType> in, out;
  const auto in_present = std::make_unique<bool[]>(inputs_.size());
  const auto out_present = std::make_unique<bool[]>(outputs_.size());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    in_present[i] = inputs_[i] != nullptr;
    in.push_back(in_present[i] ? inputs_[i]->type : TensorType());
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    out_present[i] = has_output(i);
    out.push_back(out_present[i] ? output_operand(i).type : TensorType());
  }
  state_ = make({attributes_,
                 in,
                 out,
                 {in_present.get(), in.size()},
                 {out_present.get(), out.size()},
                 test_stream().device()});
}

void KernelRun::run(const RandomState& random, std::uint32_t accumulate,
                    std::uint64_t parameter_version) {
  std::vector<std::vector<std::byte>> before;
  for (const auto& operand : inputs_) {
    before.emplace_back();
    if (operand)
      before.back().assign(operand->buffer.contents().begin(), operand->buffer.contents().end());
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    if (outputs_[i].operand && (accumulate >> i & 1u) == 0)
      outputs_[i].operand->buffer.poison_contents();

  std::deque<DeviceCopy> copies;
  const auto place = [&](Operand& operand) {
    operand.on_device = copies.emplace_back(operand.buffer, 64).contents();
  };
  std::vector<ConstTensorView> in;
  std::vector<TensorView> out;
  for (const auto& operand : inputs_) {
    if (operand) place(*operand);
    in.push_back(operand ? ConstTensorView(view_on_device(*operand)) : ConstTensorView{});
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].operand) place(*outputs_[i].operand);
    out.push_back(has_output(i) ? view_on_device(output_operand(i)) : TensorView{});
  }
  GuardedBuffer workspace(state_ ? state_->workspace_bytes() : 0, 0);
  std::byte* scratch = copies.emplace_back(workspace, 0).contents();
  OpContext ctx{test_stream(),    attributes_, {scratch, workspace.contents().size()},
                state_.get(),     random,      accumulate,
                parameter_version};
  const DeviceKernels& kernels = test_kernels(op_);
  (backward_ ? kernels.backward : kernels.forward)(ctx, in, out);
  for (DeviceCopy& copy : copies) copy.fetch();
  check(workspace, before);
}

void KernelRun::check(const GuardedBuffer& workspace,
                      const std::vector<std::vector<std::byte>>& inputs_before) {
  const auto note = [&](std::string_view what, std::size_t i, const std::string& text) {
    if (!text.empty()) damage_ += fmt::format("{} {}: {}\n", what, i, text);
  };
  note("workspace", 0, workspace.damage());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!inputs_[i]) continue;
    note("input", i, inputs_[i]->buffer.damage());
    if (!is_shared(i) && !std::ranges::equal(inputs_[i]->buffer.contents(), inputs_before[i]))
      note("input", i, "was changed");
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i)
    if (outputs_[i].operand) note("output", i, outputs_[i].operand->buffer.damage());
}

void KernelRun::copy_inputs(const KernelRun& from) {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i]) std::ranges::copy(from.input_bytes(i), inputs_[i]->buffer.data());
}

void KernelRun::set_output(std::size_t i, const Values& values) {
  store(values, output_operand(i).type, output_operand(i).buffer.data());
}

Values KernelRun::output(std::size_t i) const { return load(view(output_operand(i))); }

std::span<const std::byte> KernelRun::output_bytes(std::size_t i) const {
  return std::as_const(output_operand(i).buffer).contents();
}

}  // namespace phalanx::operators_test
