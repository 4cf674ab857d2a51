// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/math.hpp"
#include "unary_chain/unary_chain.hpp"

namespace phalanx {
namespace {

using Kind = UnaryLink::Kind;

// As many elements as stay in the first-level cache with every value of the chain.
constexpr std::int64_t kBlock = 256;
using Block = float[kBlock];

constexpr float kCubic = 0.044715f, kRootTwoByPi = 0.797884561f, kRootHalf = 0.707106781f;
constexpr float kDensityAtZero = 0.398942280f;  // 1 / sqrt(2 pi)

float tanh_form(float x) { return math::tanh(kRootTwoByPi * (x + kCubic * x * x * x)); }
float phi_integral(float x) { return 0.5f * (1.0f + math::erf(kRootHalf * x)); }

/// y = f(x). Formulas are those of the operators.
void apply(const UnaryLink& link, const Block& x, Block& y) {
  const auto each = [&](auto f) {
    for (std::int64_t i = 0; i < kBlock; ++i) y[i] = f(x[i]);
  };
  const auto alpha = static_cast<float>(link.alpha);
  switch (link.kind) {
    case Kind::kElu:
      return each([=](float v) { return v > 0.0f ? v : alpha * math::expm1(v > 0.0f ? 0.0f : v); });
    case Kind::kGelu: return each([](float v) { return v * phi_integral(v); });
    case Kind::kGeluByTanh: return each([](float v) { return 0.5f * v * (1.0f + tanh_form(v)); });
    case Kind::kLeakyRelu: return each([=](float v) { return v > 0.0f ? v : alpha * v; });
    case Kind::kRelu: return each([](float v) { return v < 0.0f ? 0.0f : v; });
    case Kind::kSigmoid: return each([](float v) { return math::sigmoid(v); });
    case Kind::kSoftplus: return each([](float v) { return math::softplus(v); });
    case Kind::kTanh: return each([](float v) { return math::tanh(v); });
  }
}

/// g = g * f'(x), y being f(x).
void apply_slope(const UnaryLink& link, const Block& x, const Block& y, Block& g) {
  const auto each = [&](const Block& from, auto slope) {
    for (std::int64_t i = 0; i < kBlock; ++i) g[i] *= slope(from[i]);
  };
  const auto alpha = static_cast<float>(link.alpha);
  switch (link.kind) {
    case Kind::kElu: return each(y, [=](float v) { return v > 0.0f ? 1.0f : v + alpha; });
    case Kind::kGelu:
      return each(x, [](float v) {
        return phi_integral(v) + v * kDensityAtZero * math::exp(-0.5f * v * v);
      });
    case Kind::kGeluByTanh:
      return each(x, [](float v) {
        const float t = tanh_form(v);
        return 0.5f * (1.0f + t) +
               0.5f * v * (1.0f - t * t) * kRootTwoByPi * (1.0f + 3.0f * kCubic * v * v);
      });
    case Kind::kLeakyRelu: return each(y, [=](float v) { return v > 0.0f ? 1.0f : alpha; });
    case Kind::kRelu: return each(y, [](float v) { return v > 0.0f ? 1.0f : 0.0f; });
    case Kind::kSigmoid: return each(y, [](float v) { return v * (1.0f - v); });
    case Kind::kSoftplus: return each(y, [](float v) { return -math::expm1(-v); });
    case Kind::kTanh: return each(y, [](float v) { return 1.0f - v * v; });
  }
}

/// The last block of a tensor is filled up with zeros.
template <class T>
void read(const T* from, std::int64_t count, Block& to) {
  std::transform(from, from + count, to, [](T v) { return static_cast<float>(v); });
  std::fill(to + count, to + kBlock, 0.0f);
}
template <class T>
void write(const Block& from, std::int64_t count, T* to) {
  std::transform(from, from + count, to, [](float v) { return T(v); });
}

}  // namespace

void unary_chain_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const UnaryChain chain = unary_chain_of(ctx.attributes);
  with_float_type(in[0].type.dtype, [&]<class T>() {
    for (std::int64_t begin = 0; begin < in[0].numel(); begin += kBlock) {
      const std::int64_t count = std::min(kBlock, in[0].numel() - begin);
      Block v;
      read(in[0].as<T>() + begin, count, v);
      for (int k = 0; k < chain.count; ++k) apply(chain.links[k], v, v);
      write(v, count, out[0].as<T>() + begin);
    }
  });
}

void unary_chain_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  const UnaryChain chain = unary_chain_of(ctx.attributes);
  const ConstTensorView &x = in[0], &dy = in[2];
  with_float_type(x.type.dtype, [&]<class T>() {
    for (std::int64_t begin = 0; begin < x.numel(); begin += kBlock) {
      const std::int64_t count = std::min(kBlock, x.numel() - begin);
      Block v[UnaryChain::kMostLinks + 1], g;
      read(x.as<T>() + begin, count, v[0]);
      read(dy.as<T>() + begin, count, g);
      for (int k = 0; k < chain.count; ++k) apply(chain.links[k], v[k], v[k + 1]);
      for (int k = chain.count - 1; k >= 0; --k) apply_slope(chain.links[k], v[k], v[k + 1], g);
      write(g, count, out[0].as<T>() + begin);
    }
  });
}

}  // namespace phalanx
