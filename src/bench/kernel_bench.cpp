// SPDX-License-Identifier: Apache-2.0
#include "bench/kernel_bench.hpp"

#include <algorithm>

#include "core/rng.hpp"

namespace phalanx {
namespace {

std::vector<TensorType> input_types(const OpCases& cases, const OpCases::Case& c, DType dtype,
                                    std::int64_t n) {
  std::vector<TensorType> in = c.inputs(n);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if ((c.absent >> i & 1u) != 0)
      in[i] = TensorType();
    else if (is_float(in[i].dtype) && (cases.low_precision >> i & 1u) != 0)
      in[i].dtype = dtype;
  }
  return in;
}

/// Made-up values; `classes`: labels are below it.
void fill_on_host(TensorView to, Fill values, std::int64_t classes, std::uint64_t seed) {
  for (std::int64_t i = 0; i < to.numel(); ++i) {
    const auto draw = philox(seed, {static_cast<std::uint32_t>(i), 0, 0, 0});
    const auto unit = static_cast<double>(uniform01(draw[0]));
    const double x =
        values == Fill::kPositive || values == Fill::kUnit ? 0.5 + unit / 4 : 2 * unit - 1;
    const double value = values == Fill::kZeroOrOne ? (unit < 0.5 ? 0 : 1) : x;
    const auto label = static_cast<std::int64_t>(unit * static_cast<double>(classes));
    switch (to.type.dtype) {
      case DType::kF32: to.as<float>()[i] = static_cast<float>(value); break;
      case DType::kBf16: to.as<Bf16>()[i] = Bf16(static_cast<float>(value)); break;
      case DType::kI64: to.as<std::int64_t>()[i] = label; break;
      case DType::kI32: to.as<std::int32_t>()[i] = static_cast<std::int32_t>(label); break;
      case DType::kU8: to.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(unit * 256); break;
    }
  }
}

}  // namespace

KernelBench::KernelBench(const OpSpec& op, const Attributes& attributes, bool backward,
                         std::vector<ConstTensorView> in, std::vector<TensorView> out,
                         Stream& stream)
    : op_(op),
      attributes_(attributes),
      backward_(backward),
      stream_(stream),
      in_(std::move(in)),
      out_(std::move(out)) {
  const DeviceKernels& kernels = kernels_for(op, stream.device());
  const Prepare make = backward ? kernels.prepare_backward : kernels.prepare_forward;
  if (make != nullptr) {
    std::vector<TensorType> in_types, out_types;
    const auto present = std::make_unique<bool[]>(in_.size() + out_.size());
    for (const ConstTensorView& v : in_) {
      present[in_types.size()] = v.data != nullptr;
      in_types.push_back(v.type);
    }
    for (const TensorView& v : out_) {
      present[in_.size() + out_types.size()] = v.data != nullptr;
      out_types.push_back(v.type);
    }
    state_ = make({attributes,
                   in_types,
                   out_types,
                   {present.get(), in_.size()},
                   {present.get() + in_.size(), out_.size()},
                   stream.device()});
  }
  workspace_ = Buffer(state_ ? state_->workspace_bytes() : 0, stream, "the scratch of a kernel");
}

void KernelBench::run() {
  const DeviceKernels& kernels = kernels_for(op_, stream_.device());
  OpContext ctx{
      stream_, attributes_, {workspace_.data(), workspace_.size_bytes()}, state_.get(), {}};
  (backward_ ? kernels.backward : kernels.forward)(ctx, in_, out_);
}

double KernelBench::bytes() const {
  double sum = 0;
  for (const ConstTensorView& v : in_) sum += v ? static_cast<double>(v.type.size_bytes()) : 0.0;
  for (const TensorView& v : out_) sum += v ? static_cast<double>(v.type.size_bytes()) : 0.0;
  return sum;
}

CaseOperands::CaseOperands(const OpCases& cases, const OpCases::Case& c, DType dtype,
                           std::int64_t n, Stream& stream)
    : cases_(cases), case_(c), stream_(stream), in_(input_types(cases, c, dtype, n)) {
  plain_ = in_;
  out_ = cases.op->infer(c.attributes, in_);
  choose_formats();
  for (std::size_t i = 0; i < in_.size(); ++i)
    in_memory_.push_back(
        is_absent(i) ? Tensor() : filled(in_[i], i < c.fill.size() ? c.fill[i] : Fill::kNormal));
  for (std::size_t i = 0; i < out_.size(); ++i)
    out_memory_.push_back(updated_input(i) >= 0 ? Tensor() : Tensor(out_[i], stream));
}

KernelBench CaseOperands::forward() {
  std::vector<ConstTensorView> in;
  std::vector<TensorView> out;
  for (std::size_t i = 0; i < in_.size(); ++i)
    in.push_back(is_absent(i) ? ConstTensorView{} : in_memory_[i].view());
  for (std::size_t i = 0; i < out_.size(); ++i) {
    const int updated = updated_input(i);
    out.push_back(updated >= 0 ? in_memory_[static_cast<std::size_t>(updated)].view()
                               : out_memory_[i].view());
  }
  return {*cases_.op, case_.attributes, false, std::move(in), std::move(out), stream_};
}

KernelBench CaseOperands::backward() {
  if (backward_in_.empty()) make_gradients();
  return {*cases_.op, case_.attributes, true, backward_in_, backward_out_, stream_};
}

void CaseOperands::make_gradients() {
  const OpSpec& op = *cases_.op;
  const auto gradient = [&](const TensorType& type) {
    return gradients_.emplace_back(filled(type, Fill::kNormal)).view();
  };
  for (std::size_t i = 0; i < in_.size(); ++i)
    backward_in_.push_back(!is_absent(i) && (op.needs_inputs >> i & 1u) != 0 ? in_memory_[i].view()
                                                                             : TensorView{});
  for (std::size_t i = 0; i < out_.size(); ++i)
    backward_in_.push_back((needed_outputs(op, case_.attributes) >> i & 1u) != 0
                               ? out_memory_[i].view()
                               : TensorView{});
  const std::size_t saved = out_.size() > static_cast<std::size_t>(op.saved_outputs)
                                ? static_cast<std::size_t>(op.saved_outputs)
                                : 0;
  for (std::size_t i = 0; i < out_.size(); ++i)
    backward_in_.push_back(i + saved < out_.size() && updated_input(i) < 0 ? gradient(out_[i])
                                                                           : TensorView{});
  for (std::size_t i = 0; i < in_.size(); ++i)
    backward_out_.push_back(has_gradient(i) ? gradient(in_[i]) : TensorView{});
}

double CaseOperands::forward_flops() const {
  const OpSpec& op = *cases_.op;
  return op.flops == nullptr ? 0 : static_cast<double>(op.flops(case_.attributes, plain_));
}

double CaseOperands::backward_flops() const {
  double times = 0;
  for (std::size_t i = 0; i < in_.size(); ++i)
    times += has_gradient(i) && in_[i].shape.rank() >= 2 ? 1 : 0;
  return times * forward_flops();
}

bool CaseOperands::has_gradient(std::size_t input) const {
  return !is_absent(input) && (cases_.op->differentiable >> input & 1u) != 0 &&
         is_float(in_[input].dtype);
}

int CaseOperands::updated_input(std::size_t output) const {
  for (const AliasRule& rule : cases_.op->aliases)
    if (rule.kind == AliasKind::kUpdate && static_cast<std::size_t>(rule.output) == output)
      return rule.input;
  return -1;
}

void CaseOperands::choose_formats() {
  const LayoutRule rule = cases_.op->layout;
  const ChooseLayout choose = kernels_for(*cases_.op, stream_.device()).choose_layout;
  if (rule == LayoutRule::kSame) choose_same_format();
  if (rule != LayoutRule::kChosen || choose == nullptr) return;
  std::vector<std::int64_t> in(in_.size(), 1), out(out_.size(), 1);
  choose(case_.attributes, in_, out_, in, out);
  for (std::size_t i = 0; i < in.size(); ++i) in_[i].set_channel_block(in[i]);
  for (std::size_t i = 0; i < out.size(); ++i) out_[i].set_channel_block(out[i]);
}

/// As images stand between convolutions: on the CPU in blocks of 16 channels, on a GPU all channels of a pixel together.
void CaseOperands::choose_same_format() {
  constexpr std::int64_t kBlock = 16;
  const bool on_cpu = stream_.device().kind == DeviceKind::kCpu;
  const auto is_image = [](const TensorType& t) { return t.shape.rank() == 4 && t.shape[1] != 1; };
  const auto fits = [&](const TensorType& t) { return !is_image(t) || t.shape[1] % kBlock == 0; };
  if (!std::ranges::all_of(in_, fits) || !std::ranges::all_of(out_, fits)) return;
  for (auto* types : {&in_, &out_})
    for (TensorType& t : *types)
      if (is_image(t)) t.set_channel_block(on_cpu ? kBlock : t.shape[1]);
}

/// A MiB of values again and again: drawing all of them would take longer than measuring.
Tensor CaseOperands::filled(const TensorType& type, Fill values) {
  constexpr std::int64_t kDrawn = std::int64_t{1} << 18;
  const Shape& first = in_[0].shape;
  const std::int64_t classes = first.rank() > 0 ? std::max<std::int64_t>(first[-1], 1) : 1;
  const TensorType part(type.dtype, Shape{std::min(type.shape.numel(), kDrawn)});
  const HostTensor drawn(part, Device{});
  fill_on_host(drawn.view(), values, classes, seed_++);
  Tensor made(type, stream_, "an operand");
  const std::size_t whole_bytes = type.size_bytes(), part_bytes = part.size_bytes();
  for (std::size_t at = 0; at < whole_bytes; at += part_bytes)
    upload(std::span(drawn.view().as<std::byte>(), std::min(part_bytes, whole_bytes - at)),
           made.view().as<std::byte>() + at, stream_);
  stream_.synchronize();
  return made;
}

std::int64_t size_of_case(const OpCases& cases, const OpCases::Case& c, DType dtype,
                          std::size_t least_bytes) {
  if (least_bytes == 0) return c.benchmark_n;
  const auto largest = [&](std::int64_t n) {
    std::vector<TensorType> in = input_types(cases, c, dtype, n);
    std::size_t most = 0;
    for (const TensorType& t : cases.op->infer(c.attributes, in))
      most = std::max(most, t.size_bytes());
    for (const TensorType& t : in) most = std::max(most, t.size_bytes());
    return most;
  };
  std::int64_t n = c.benchmark_n;
  for (std::size_t last = 0, now = largest(n); now < least_bytes && now > last;
       last = now, now = largest(n))
    n *= 2;
  while (n > 1 && largest(n / 2) >= least_bytes) n /= 2;
  return n;
}

}  // namespace phalanx
