// SPDX-License-Identifier: Apache-2.0
// Convolutions on the emulated GPU that are too large for the operators' harness: every size of tile, products of more steps
// than stages, sums in many parts, every memory format. Some elements of each result are compared with plain loops.
// PHALANX_TEST_BACKEND names another GPU's backend, PHALANX_TEST_KERNELS whose kernels run there: own | library.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "device/backend.hpp"
#include "op/op.hpp"
#include "simt/arrays.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {
namespace {

enum class Math { kF32, kTf32, kBf16 };

struct Options {
  std::int64_t group = 1;
  Ints strides{1, 1}, pads{0, 0, 0, 0}, dilations{1, 1};
  std::int64_t x_block = 0, y_block = 0;  // 0: channels last
  std::string launched = "";              // a kernel that must have run
};

struct Problem : Options {
  std::string name;
  std::int64_t n, c, h, w, o, r, s;

  Problem(std::string called, std::array<std::int64_t, 4> x, std::array<std::int64_t, 3> weights,
          Options options = {})
      : Options(std::move(options)), name(std::move(called)) {
    std::tie(n, c, h, w) = std::tie(x[0], x[1], x[2], x[3]);
    std::tie(o, r, s) = std::tie(weights[0], weights[1], weights[2]);
  }
  friend void PrintTo(const Problem& p, std::ostream* os) { *os << p.name; }
};

/// Of [N, C/B, H, W, B].
std::size_t place(const TensorType& type, std::int64_t n, std::int64_t c, std::int64_t y,
                  std::int64_t x) {
  const Shape& s = type.shape;
  const std::int64_t b = type.channel_block;
  return static_cast<std::size_t>((((n * (s[1] / b) + c / b) * s[2] + y) * s[3] + x) * b + c % b);
}

/// An emulated GPU, or a real one.
std::string tested_backend() {
  const char* other = std::getenv("PHALANX_TEST_BACKEND");
  return other == nullptr ? PHALANX_EMULATED_BACKEND : other;
}

class ConvOnAnEmulatedGpu : public testing::TestWithParam<std::tuple<Problem, Math>> {
 protected:
  ConvOnAnEmulatedGpu() : backend_(tested_backend()) {
    const char* by = std::getenv("PHALANX_TEST_KERNELS");
    is_ours_ = by == nullptr || std::string(by) == "own";
    backend_.get().options.conv = is_ours_ ? KernelChoice::kOwn : KernelChoice::kVendor;
    backend_.get().options.tf32 = math() == Math::kTf32;
    stream_ = std::make_unique<Stream>(Device{DeviceKind::kCuda, 0, &backend_.get()});
    const Problem& p = problem();
    attributes_ = {
        {"strides", p.strides}, {"pads", p.pads}, {"dilations", p.dilations}, {"group", p.group}};
    x_ = {type(), Shape{p.n, p.c, p.h, p.w}, p.x_block == 0 ? p.c : p.x_block};
    w_ = {DType::kF32, Shape{p.o, p.c / p.group, p.r, p.s}};
    b_ = {DType::kF32, Shape{p.o}};
    y_ = op_.infer(attributes_, std::vector{x_, w_, b_})[0];
    y_.set_channel_block(p.y_block == 0 ? p.o : p.y_block);
  }

  const Problem& problem() const { return std::get<0>(GetParam()); }
  static Math math() { return std::get<1>(GetParam()); }
  static DType type() { return math() == Math::kBf16 ? DType::kBf16 : DType::kF32; }

  /// Values of a type on the device; rounded as the kernels will have them.
  struct Operand {
    TensorType type;
    std::vector<float> values;
    Tensor tensor;
    TensorView view() const { return tensor.view(); }
  };
  Operand make(const TensorType& of, std::uint64_t seed) {
    Operand made{of, some_floats(static_cast<std::size_t>(of.shape.numel()), seed), {}};
    if (type() == DType::kBf16 && seed != kKeepsF32)
      for (float& v : made.values) v = static_cast<float>(Bf16(v));
    made.tensor = Tensor(of, *stream_);
    send(made);
    return made;
  }
  void send(Operand& to) {
    if (to.type.dtype == DType::kF32) {
      upload(std::as_bytes(std::span(to.values)), to.tensor.as<std::byte>().data(), *stream_);
      return;
    }
    const std::vector<Bf16> low(to.values.begin(), to.values.end());
    upload(std::as_bytes(std::span(low)), to.tensor.as<std::byte>().data(), *stream_);
  }
  std::vector<float> fetch(const Operand& from) {
    const auto count = static_cast<std::size_t>(from.type.shape.numel());
    std::vector<float> values(count);
    if (from.type.dtype == DType::kF32) {
      download(from.tensor.as<std::byte>().data(), std::as_writable_bytes(std::span(values)),
               *stream_);
      return values;
    }
    std::vector<Bf16> low(count);
    download(from.tensor.as<std::byte>().data(), std::as_writable_bytes(std::span(low)), *stream_);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(low[i]);
    return values;
  }

  void run(bool is_backward, const std::vector<const Operand*>& in,
           const std::vector<const Operand*>& out, std::uint32_t accumulate = 0) {
    const DeviceKernels& kernels = kernels_for(op_, stream_->device());
    std::vector<TensorType> in_types, out_types;
    std::vector<ConstTensorView> in_views;
    std::vector<TensorView> out_views;
    const auto present = std::make_unique<bool[]>(in.size() + out.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      present[i] = in[i] != nullptr;
      in_types.push_back(in[i] ? in[i]->type : TensorType());
      in_views.push_back(in[i] ? ConstTensorView(in[i]->view()) : ConstTensorView());
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      present[in.size() + i] = true;
      out_types.push_back(out[i]->type);
      out_views.push_back(out[i]->view());
    }
    const auto state = (is_backward ? kernels.prepare_backward : kernels.prepare_forward)(
        {attributes_,
         in_types,
         out_types,
         {present.get(), in.size()},
         {present.get() + in.size(), out.size()},
         stream_->device()});
    const Buffer workspace(state->workspace_bytes(), *stream_);
    OpContext ctx{.stream = *stream_,
                  .attributes = attributes_,
                  .workspace = {workspace.data(), workspace.size_bytes()},
                  .state = state.get(),
                  .accumulate = accumulate};
    (is_backward ? kernels.backward : kernels.forward)(ctx, in_views, out_views);
    launches_ += static_cast<BackendStream*>(stream_->handle())->last_launches() + " ";
    stream_->synchronize();  // before the state ends
  }

  /// Calls f(place of y, place of x, value of w's place) for all that belong together, of one channel of y and cell.
  template <class F>
  void each_pixel(std::int64_t o, std::int64_t i, std::int64_t r, std::int64_t s, F f) const {
    const Problem& p = problem();
    const std::int64_t c = o / (p.o / p.group) * (p.c / p.group) + i;
    for (std::int64_t n = 0; n < p.n; ++n)
      for (std::int64_t py = 0; py < y_.shape[2]; ++py)
        for (std::int64_t px = 0; px < y_.shape[3]; ++px) {
          const std::int64_t at_y = py * p.strides[0] - p.pads[0] + r * p.dilations[0],
                             at_x = px * p.strides[1] - p.pads[1] + s * p.dilations[1];
          if (at_y >= 0 && at_y < p.h && at_x >= 0 && at_x < p.w)
            f(place(y_, n, o, py, px), place(x_, n, c, at_y, at_x));
        }
  }

  double y_at(std::int64_t n, std::int64_t o, std::int64_t py, std::int64_t px, const Operand& x,
              const Operand& w, const Operand& b) const {
    const Problem& p = problem();
    const std::int64_t depth = p.c / p.group, first = o / (p.o / p.group) * depth;
    double sum = b.values[static_cast<std::size_t>(o)];
    for (std::int64_t r = 0; r < p.r; ++r)
      for (std::int64_t s = 0; s < p.s; ++s) {
        const std::int64_t at_y = py * p.strides[0] - p.pads[0] + r * p.dilations[0],
                           at_x = px * p.strides[1] - p.pads[1] + s * p.dilations[1];
        if (at_y < 0 || at_y >= p.h || at_x < 0 || at_x >= p.w) continue;
        for (std::int64_t i = 0; i < depth; ++i)
          sum += double{x.values[place(x_, n, first + i, at_y, at_x)]} *
                 w.values[static_cast<std::size_t>(((o * depth + i) * p.r + r) * p.s + s)];
      }
    return sum;
  }

  double dx_at(std::int64_t n, std::int64_t c, std::int64_t at_y, std::int64_t at_x,
               const Operand& dy, const Operand& w) const {
    const Problem& p = problem();
    const std::int64_t depth = p.c / p.group, outputs = p.o / p.group, first = c / depth * outputs;
    double sum = 0;
    for (std::int64_t r = 0; r < p.r; ++r)
      for (std::int64_t s = 0; s < p.s; ++s) {
        const std::int64_t above = at_y + p.pads[0] - r * p.dilations[0],
                           left = at_x + p.pads[1] - s * p.dilations[1];
        if (above < 0 || above % p.strides[0] != 0 || left < 0 || left % p.strides[1] != 0)
          continue;
        const std::int64_t py = above / p.strides[0], px = left / p.strides[1];
        if (py >= y_.shape[2] || px >= y_.shape[3]) continue;
        for (std::int64_t k = 0; k < outputs; ++k)
          sum += double{dy.values[place(y_, n, first + k, py, px)]} *
                 w.values[static_cast<std::size_t>(
                     (((first + k) * depth + c % depth) * p.r + r) * p.s + s)];
      }
    return sum;
  }

  /// Compares some elements of an image with what `expected` says, at most `allowed` of the largest away from it.
  void compare_image(const std::string& what, const TensorType& type,
                     const std::vector<float>& found, double allowed,
                     const std::function<double(std::int64_t, std::int64_t, std::int64_t,
                                                std::int64_t)>& expected) {
    constexpr std::int64_t kSamples = 3000;
    const Shape& s = type.shape;
    const std::int64_t count = s.numel(), step = count <= kSamples ? 1 : count / kSamples | 1;
    double largest = 1;
    for (const float v : found) largest = std::max(largest, std::abs(double{v}));
    ASSERT_TRUE(std::isfinite(largest)) << what;
    for (std::int64_t i = 0; i < count; i += step) {
      const std::int64_t x = i % s[3], y = i / s[3] % s[2], c = i / s[3] / s[2] % s[1],
                         n = i / s[3] / s[2] / s[1];
      ASSERT_NEAR(found[place(type, n, c, y, x)], expected(n, c, y, x), allowed * largest)
          << what << " [" << n << ", " << c << ", " << y << ", " << x << "]";
    }
  }

  static constexpr std::uint64_t kKeepsF32 = 99;

  LoadedBackend backend_;
  bool is_ours_ = true;  // the kernels that run
  std::unique_ptr<Stream> stream_;
  const OpSpec& op_ = find_operator("conv");
  Attributes attributes_;
  TensorType x_, w_, b_, y_;
  std::string launches_;
};

TEST_P(ConvOnAnEmulatedGpu, AgreesWithPlainLoops) {
  // Results in bf16 are rounded; in tf32 the factors are.
  const double of_images = math() == Math::kBf16 ? 1.0 / 256 : math() == Math::kTf32 ? 1e-3 : 2e-6;
  const double of_weights = math() == Math::kTf32 ? 1e-3 : 1e-5;
  const Operand x = make(x_, 1), w = make(w_, 2), b = make(b_, kKeepsF32);
  const Operand y = make(y_, 4), dy = make(y_, 5);
  const Operand dx = make(x_, 6), dw = make(w_, kKeepsF32), db = make(b_, kKeepsF32);
  run(false, {&x, &w, &b}, {&y});
  run(true, {&x, &w, nullptr, nullptr, &dy}, {&dx, &dw, &db}, 0b100);

  compare_image("y", y_, fetch(y), of_images,
                [&](auto n, auto o, auto py, auto px) { return y_at(n, o, py, px, x, w, b); });
  compare_image("dx", x_, fetch(dx), of_images, [&](auto n, auto c, auto at_y, auto at_x) {
    return dx_at(n, c, at_y, at_x, dy, w);
  });

  const Problem& p = problem();
  const std::vector<float> found = fetch(dw), sums = fetch(db);
  const double scale = std::sqrt(static_cast<double>(p.n * y_.shape[2] * y_.shape[3]));
  const std::int64_t depth = p.c / p.group, count = w_.shape.numel(), step = count / 150 | 1;
  for (std::int64_t at = 0; at < count; at += step) {
    const std::int64_t s = at % p.s, r = at / p.s % p.r, i = at / p.s / p.r % depth,
                       o = at / p.s / p.r / depth;
    double sum = 0;
    each_pixel(o, i, r, s, [&](std::size_t of_y, std::size_t of_x) {
      sum += double{dy.values[of_y]} * x.values[of_x];
    });
    ASSERT_NEAR(found[static_cast<std::size_t>(at)], sum, of_weights * scale) << "dw " << at;
  }
  for (std::int64_t o = 0; o < p.o; ++o) {  // added to what was there
    double sum = db.values[static_cast<std::size_t>(o)];
    for (std::int64_t n = 0; n < p.n; ++n)
      for (std::int64_t py = 0; py < y_.shape[2]; ++py)
        for (std::int64_t px = 0; px < y_.shape[3]; ++px) sum += dy.values[place(y_, n, o, py, px)];
    ASSERT_NEAR(sums[static_cast<std::size_t>(o)], sum, 1e-5 * scale) << "db " << o;
  }
  EXPECT_TRUE(!is_ours_ || launches_.find(p.launched) != std::string::npos)
      << p.launched << " is not among " << launches_;
}

const Ints kOnes{1, 1, 1, 1};

// Some are the least sizes at which launchers take the tiles that the names say.
std::vector<Problem> problems() {
  return {
      {"large_tiles_forward_and_of_weights", {13, 8, 32, 32}, {136, 3, 3}, {.pads = kOnes}},
      {"large_tiles_backward", {13, 136, 32, 32}, {8, 1, 2}},
      {"narrow_tiles_forward", {25, 8, 31, 33}, {24, 1, 3}},
      {"narrow_tiles_backward_and_of_weights", {25, 24, 31, 33}, {72, 1, 1}},
      {"large_tiles_of_three_groups", {5, 3 * 24, 31, 29}, {3 * 136, 1, 2}, {.group = 3}},
      {"groups_strides_and_dilations",
       {3, 32, 17, 14},
       {48, 3, 3},
       {.group = 2,
        .strides = {2, 2},
        .pads = {2, 1, 3, 2},
        .dilations = {1, 2},
        .launched = "conv_backward_x_gather"}},
      {"a_stride_that_shares_a_factor_with_the_dilation",
       {2, 8, 23, 19},
       {16, 4, 3},
       {.strides = {4, 3}, .pads = {3, 0, 1, 5}, .dilations = {2, 3}}},
      {"a_stride_wider_than_the_window", {3, 16, 12, 11}, {24, 1, 2}, {.strides = {2, 4}}},
      {"patches_of_an_image", {2, 3, 32, 32}, {40, 8, 8}, {.strides = {8, 8}, .x_block = 1}},
      {"a_first_layer",
       {4, 3, 30, 27},
       {64, 7, 7},
       {.strides = {2, 2}, .pads = {3, 3, 3, 3}, .x_block = 1}},
      {"a_first_layer_channels_last", {2, 3, 18, 15}, {32, 3, 3}, {.pads = kOnes}},
      {"plain_images", {2, 16, 9, 10}, {24, 3, 3}, {.pads = kOnes, .x_block = 1, .y_block = 1}},
      {"blocks_of_channels",
       {2, 32, 9, 10},
       {48, 3, 3},
       {.pads = kOnes, .x_block = 8, .y_block = 16}},
      {"blocks_narrower_than_a_run",
       {2, 12, 9, 10},
       {10, 3, 3},
       {.pads = kOnes, .x_block = 6, .y_block = 2}},
      {"odd_channels", {3, 37, 9, 8}, {71, 2, 3}, {.pads = {0, 1, 1, 1}}},
      {"depthwise_in_runs",
       {3, 40, 14, 13},
       {40, 3, 3},
       {.group = 40,
        .strides = {2, 1},
        .pads = kOnes,
        .dilations = {1, 2},
        .launched = "conv_forward_direct"}},
      {"depthwise_with_two_outputs",
       {3, 24, 14, 13},
       {48, 3, 3},
       {.group = 24, .strides = {2, 2}, .pads = kOnes, .launched = "conv_backward_x_direct"}},
      {"groups_of_four",
       {3, 32, 21, 13},
       {32, 3, 3},
       {.group = 8, .pads = kOnes, .launched = "conv_backward_w_direct"}},
      {"depthwise_plain",
       {2, 8, 11, 13},
       {8, 5, 3},
       {.group = 8, .pads = {2, 1, 2, 1}, .x_block = 1, .y_block = 1}},
  };
}

std::string name_of(const testing::TestParamInfo<std::tuple<Problem, Math>>& tested) {
  constexpr const char* kMath[] = {"f32", "tf32", "bf16"};
  const auto& [problem, math] = tested.param;
  return problem.name + "_" + kMath[static_cast<int>(math)];
}

INSTANTIATE_TEST_SUITE_P(Every, ConvOnAnEmulatedGpu,
                         testing::Combine(testing::ValuesIn(problems()),
                                          testing::Values(Math::kF32, Math::kTf32, Math::kBf16)),
                         name_of);

}  // namespace
}  // namespace phalanx
