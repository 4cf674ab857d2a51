// SPDX-License-Identifier: Apache-2.0
#include "trial.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

namespace phalanx::operators_test {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 31, 32, 33, 1023, 1025};

bool is_image(const TensorType& type) { return type.shape.rank() == 4; }

bool accepted_at_some_size(const Subject& subject) {
  return std::ranges::any_of(subject.sizes(), [&](std::int64_t n) {
    try {
      (void)subject.op().infer(subject.chosen->attributes, subject.input_types(n));
      return true;
    } catch (const InvalidArgument&) {
      return false;
    }
  });
}

}  // namespace

std::vector<std::int64_t> Subject::sizes() const {
  std::vector<std::int64_t> sizes(std::begin(kSizes), std::end(kSizes));
  if (!chosen->sizes.empty()) sizes = chosen->sizes;
  if (const char* largest = std::getenv("PHALANX_TEST_LARGEST"))
    std::erase_if(sizes, [&, first = sizes.front()](std::int64_t n) {
      return n > std::atoll(largest) && n != first;
    });
  return sizes;
}

std::vector<TensorType> Subject::input_types(std::int64_t n) const {
  std::vector<TensorType> types = chosen->inputs(n);
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (is_absent(i)) types[i] = TensorType();
    if (!is_absent(i) && is_float(types[i].dtype) && (cases->low_precision >> i & 1u) != 0)
      types[i].dtype = dtype;
  }
  return types;
}

std::vector<Subject> all_subjects() {
  std::vector<Subject> subjects;
  for (const OpCases* cases : all_cases()) {
    if (!has_kernels(*cases->op)) continue;
    for (const OpCases::Case& c : cases->cases) {
      subjects.push_back({cases, &c, DType::kF32});
      const Subject low{cases, &c, DType::kBf16};
      if (low.input_types(1) != subjects.back().input_types(1) && accepted_at_some_size(low))
        subjects.push_back(low);
      if (subjects.back().dtype == DType::kBf16 && low.op().low_precision_weights != 0) {
        subjects.push_back(low);
        subjects.back().has_weights = true;
      }
    }
  }
  return subjects;
}

std::optional<Trial> Trial::make(const Subject& subject, std::int64_t n) {
  Trial trial(subject);
  trial.in_ = subject.input_types(n);
  try {
    trial.out_ = subject.op().infer(subject.chosen->attributes, trial.in_);
  } catch (const InvalidArgument&) {
    if (n == 0) return std::nullopt;
    throw;
  }
  trial.x_ = trial.draw_inputs(static_cast<std::uint64_t>(n));
  return trial;
}

std::vector<Values> Trial::draw_inputs(std::uint64_t seed) const {
  const std::int64_t classes = in_[0].shape.rank() > 0 ? in_[0].shape[-1] : 1;
  std::vector<Values> x;
  for (std::size_t i = 0; i < in_.size(); ++i) {
    const auto& fill = subject_.chosen->fill;
    x.push_back(is_absent(i) ? Values()
                             : draw(i < fill.size() ? fill[i] : Fill::kNormal, in_[i], classes,
                                    1000 * seed + i));
  }
  return x;
}

Trial Trial::rows_from(std::int64_t first) const {
  Trial part = *this;
  const std::int64_t rows = in_[0].shape[0];
  for (std::size_t i = 0; i < in_.size(); ++i) {
    const Shape& shape = in_[i].shape;
    if (is_absent(i) || shape.rank() == 0 || shape[0] != rows) continue;
    part.in_[i].shape = shape.with(0, rows - first);
    part.x_[i].erase(part.x_[i].begin(),
                     part.x_[i].begin() + first * shape.product(1, shape.rank()));
  }
  part.out_ = op().infer(attributes(), part.in_);
  return part;
}

std::vector<Values> Trial::oracle(const std::vector<Values>& x) const {
  std::vector<Values> in = x, out;
  for (const TensorType& type : out_)
    out.emplace_back(static_cast<std::size_t>(type.shape.numel()), 0.0);
  subject_.cases->reference(attributes(), in_, in, out);
  return out;
}

std::vector<Values> Trial::draw_gradients() const {
  std::vector<Values> dy;
  for (std::size_t i = 0; i < out_.size(); ++i)
    dy.push_back(has_gradient(i) ? draw(Fill::kNormal, out_[i], 1, 77 + i) : Values());
  return dy;
}

int Trial::updated_input(std::size_t output) const {
  for (const AliasRule& rule : op().aliases)
    if (rule.kind == AliasKind::kUpdate && static_cast<std::size_t>(rule.output) == output)
      return rule.input;
  return -1;
}

double Trial::cost() const {
  double elements = 0;
  for (const TensorType& type : in_) elements += static_cast<double>(type.shape.numel());
  for (const TensorType& type : out_) elements += static_cast<double>(type.shape.numel());
  const double flops =
      op().flops != nullptr ? static_cast<double>(op().flops(attributes(), in_)) : 0.0;
  return std::max(4 * elements, flops);
}

// --- memory formats

void Trial::add_format(std::vector<Format>& formats, std::span<const std::int64_t> in_blocks,
                       std::span<const std::int64_t> out_blocks) const {
  Format f{in_, out_, "plain"};
  std::int64_t largest = 1;
  for (std::size_t i = 0; i < in_.size(); ++i) f.in[i].set_channel_block(in_blocks[i]);
  for (std::size_t i = 0; i < out_.size(); ++i)
    if (out_blocks[i] != 1)
      f.out[i].set_channel_block(out_blocks[i]);  // otherwise as infer says (reorder)
  for (const TensorType& t : f.in) largest = std::max(largest, t.channel_block);
  for (const TensorType& t : f.out) largest = std::max(largest, t.channel_block);
  if (largest > 1) f.name = fmt::format("channel blocks of {}", largest);
  const bool known =
      std::ranges::any_of(formats, [&](const Format& g) { return g.in == f.in && g.out == f.out; });
  if (!known) formats.push_back(std::move(f));
}

void Trial::add_same_format(std::vector<Format>& formats, std::int64_t block) const {
  std::vector<std::int64_t> in(in_.size(), 1), out(out_.size(), 1);
  const auto assign = [&](const std::vector<TensorType>& types, std::vector<std::int64_t>& blocks) {
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (!is_image(types[i]) || types[i].shape[1] == 1) continue;
      if (types[i].shape[1] % block != 0) return false;
      blocks[i] = block;
    }
    return true;
  };
  if (assign(in_, in) && assign(out_, out)) add_format(formats, in, out);
}

void Trial::add_chosen_format(std::vector<Format>& formats, std::int64_t block) const {
  std::vector<TensorType> types = in_;
  if (!is_image(types[0]) || types[0].shape[1] % block != 0) return;
  types[0].set_channel_block(block);
  std::vector<std::int64_t> in(in_.size(), 1), out(out_.size(), 1);
  test_kernels(op()).choose_layout(attributes(), types, out_, in, out);
  add_format(formats, in, out);
}

std::vector<Format> Trial::formats() const {
  std::vector<Format> formats;
  add_format(formats, std::vector<std::int64_t>(in_.size(), 1),
             std::vector<std::int64_t>(out_.size(), 1));
  const auto image =
      std::ranges::find_if(in_, [](const TensorType& t) { return is_image(t) && t.shape[1] > 1; });
  if (image == in_.end()) return formats;
  for (const std::int64_t block : {image->shape[1], std::int64_t{16}, std::int64_t{8}}) {
    if (op().layout == LayoutRule::kSame) add_same_format(formats, block);
    if (op().layout == LayoutRule::kChosen && test_kernels(op()).choose_layout != nullptr)
      add_chosen_format(formats, block);
  }
  if (op().layout == LayoutRule::kChosen && test_kernels(op()).choose_layout != nullptr)
    add_chosen_format(formats, 1);
  return formats;
}

// --- kernels

KernelRun Trial::forward(const Format& format, const std::vector<Values>& x) const {
  KernelRun run(op(), attributes(), false);
  for (std::size_t i = 0; i < in_.size(); ++i) {
    if (is_absent(i))
      run.add_absent_input();
    else
      run.add_input(format.in[i], x[i]);
  }
  for (std::size_t i = 0; i < out_.size(); ++i) {
    const int updated = updated_input(i);
    if (updated >= 0 && is_absent(static_cast<std::size_t>(updated))) {
      run.add_absent_output();
      continue;
    }
    run.add_output(format.out[i]);
    if (updated >= 0) run.share(i, static_cast<std::size_t>(updated));
  }
  run.prepare();
  return run;
}

KernelRun Trial::backward(const Format& format, const KernelRun& forward,
                          const std::vector<Values>& dy, std::uint32_t wanted) const {
  KernelRun run(op(), attributes(), true);
  for (std::size_t i = 0; i < in_.size(); ++i) {
    if (is_absent(i) || (op().needs_inputs >> i & 1u) == 0)
      run.add_absent_input();
    else
      run.add_input(format.in[i], forward.input_bytes(i));
  }
  for (std::size_t i = 0; i < out_.size(); ++i) {
    if ((needed_outputs(op(), attributes()) >> i & 1u) == 0)
      run.add_absent_input();
    else
      run.add_input(format.out[i], forward.output_bytes(i));
  }
  for (std::size_t i = 0; i < out_.size(); ++i) {
    if (!has_gradient(i) || (dy[i].empty() && out_[i].shape.numel() > 0))
      run.add_absent_input();
    else
      run.add_input(format.out[i], dy[i]);
  }
  for (std::size_t i = 0; i < in_.size(); ++i) {
    if (!is_differentiable(i) || (wanted >> i & 1u) == 0) {
      run.add_absent_output();
      continue;
    }
    TensorType type = format.in[i];
    if (subject_.is_weight(i)) type.dtype = DType::kF32;
    run.add_output(type);
  }
  run.prepare();
  return run;
}

}  // namespace phalanx::operators_test
