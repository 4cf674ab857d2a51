// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/lanes.hpp"
#include "common/philox_lanes.hpp"
#include "dropout/dropout.hpp"

namespace phalanx {
namespace {

/// The draws of one row and what follows from them.
struct Mask {
  std::uint64_t seed;
  std::array<std::uint32_t, 3> counter;
  std::uint32_t threshold;
  float scale;

  void draw(PhiloxLanes& lanes) const {
    philox_lanes(seed, counter[0], counter[1], counter[2], lanes);
  }
};

/// Sixteen elements and the words that decide on them.
template <class T>
void drop_lanes(const T* x, T* y, const std::uint32_t* words, const Mask& mask) {
  F32x16 v;
  U32x16 word;
  load(x, v);
  load(words, word);
  v *= mask.scale;
  v = word >= mask.threshold ? v : F32x16{};
  store(v, y);
}

/// Elements one after the other, four for every counter.
template <class T>
void drop_in_order(const T* x, T* y, std::int64_t count, const Mask& mask) {
  constexpr std::int64_t kAtOnce = 4 * kLanes;
  PhiloxLanes lanes;
  std::uint32_t words[kAtOnce];
  for (std::int64_t begin = 0; begin < count; begin += kAtOnce) {
    for (int lane = 0; lane < kLanes; ++lane)
      lanes.first[lane] = static_cast<std::uint32_t>(begin / 4 + lane);
    mask.draw(lanes);
    for (int lane = 0; lane < kLanes; ++lane)
      for (int j = 0; j < 4; ++j) words[4 * lane + j] = lanes.word[j][lane];
    const std::int64_t n = std::min(kAtOnce, count - begin);
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) drop_lanes(x + begin + i, y + begin + i, words + i, mask);
    for (; i < n; ++i)
      y[begin + i] =
          T(words[i] >= mask.threshold ? static_cast<float>(x[begin + i]) * mask.scale : 0.0f);
  }
}

/// Blocks of channels, where four neighbouring pixels of a channel share a counter: the lanes are
/// channels.
template <class T>
void drop_in_blocks(const T* x, T* y, std::int64_t channels, std::int64_t pixels,
                    std::int64_t block, const Mask& mask) {
  PhiloxLanes lanes;
  for (std::int64_t c = 0; c < channels; c += kLanes)
    for (std::int64_t p = 0; p < pixels; p += 4) {
      for (int lane = 0; lane < kLanes; ++lane)
        lanes.first[lane] = static_cast<std::uint32_t>(((c + lane) * pixels + p) / 4);
      mask.draw(lanes);
      for (std::int64_t j = 0; j < 4; ++j) {
        const std::int64_t at = (c / block * pixels + p + j) * block + c % block;
        drop_lanes(x + at, y + at, lanes.word[j], mask);
      }
    }
}

/// Any other format: the factors of a row in plain order first.
template <class T>
void drop_anywhere(const T* x, T* y, std::int64_t channels, std::int64_t pixels, std::int64_t block,
                   const Mask& mask, float* factors) {
  std::fill_n(factors, channels * pixels, 1.0f);
  drop_in_order(factors, factors, channels * pixels, mask);
  for (std::int64_t c = 0; c < channels; c += block)
    for (std::int64_t p = 0; p < pixels; ++p)
      for (std::int64_t b = 0; b < block; ++b) {
        const float f = factors[(c + b) * pixels + p];
        T& to = y[c * pixels + p * block + b];
        to = T(f != 0.0f ? static_cast<float>(x[c * pixels + p * block + b]) * f : 0.0f);
      }
}

bool lanes_fit(const TensorType& type) {
  const std::int64_t pixels = type.shape.product(2, type.shape.rank());
  return type.channel_block % kLanes == 0 && pixels % 4 == 0;
}

void drop(OpContext& ctx, const ConstTensorView& x, const TensorView& y) {
  if (x.numel() == 0) return;
  const Shape& shape = x.shape();
  const std::int64_t rows = shape[0], row_size = shape.product(1, shape.rank()),
                     block = x.type.channel_block;
  const double ratio = ctx.attributes.get_float("ratio", 0.5);
  Mask mask{ctx.random.seed,
            {},
            dropout_threshold(ctx.attributes),
            static_cast<float>(1.0 / (1.0 - ratio))};
  auto* factors = reinterpret_cast<float*>(ctx.workspace.data());
  with_float_type(x.type.dtype, [&]<class T>() {
    for (std::int64_t row = 0; row < rows; ++row) {
      const T* from = x.as<T>() + row * row_size;
      T* to = y.as<T>() + row * row_size;
      mask.counter = dropout_counter(ctx.random, row);
      if (mask.threshold == 0) {
        if (from != to) std::copy_n(from, row_size, to);
      } else if (block == 1) {
        drop_in_order(from, to, row_size, mask);
      } else if (lanes_fit(x.type)) {
        drop_in_blocks(from, to, shape[1], row_size / shape[1], block, mask);
      } else {
        drop_anywhere(from, to, shape[1], row_size / shape[1], block, mask, factors);
      }
    }
  });
}

/// One row of factors, for the formats that need it.
struct State final : OpState {
  explicit State(const TensorType& type) {
    if (type.channel_block == 1 || lanes_fit(type)) return;
    row_bytes = static_cast<std::size_t>(type.shape.product(1, type.shape.rank())) * sizeof(float);
  }
  std::size_t workspace_bytes() const noexcept override { return row_bytes; }
  std::size_t row_bytes = 0;
};

}  // namespace

std::unique_ptr<OpState> dropout_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  return std::make_unique<State>(in[0]);
}

std::unique_ptr<OpState> dropout_prepare_backward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  return std::make_unique<State>(out[0]);
}

void dropout_forward_cpu(OpContext& ctx, Inputs in, Outputs out) { drop(ctx, in[0], out[0]); }

void dropout_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (out[0]) drop(ctx, in[2], out[0]);  // in: x, y, dy
}

}  // namespace phalanx
