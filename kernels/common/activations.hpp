// SPDX-License-Identifier: Apache-2.0
/// Operators of one floating input as CUDA kernels compute them in f32, one by one or as links of a chain. Formulas as in their
/// contracts; functions of the device, which are within 2 ulp or so.
///
/// value(x) is y. gradient(v, dy) is dx, from v = y, or from v = x where kReadsInput says so.
#pragma once

#include "common/map.hpp"

namespace phalanx {

struct Elu {
  static constexpr bool kReadsInput = false;
  float alpha;
  __device__ float value(float x) const { return x > 0.0f ? x : alpha * expm1f(x); }
  __device__ float gradient(float y, float dy) const { return y > 0.0f ? dy : (y + alpha) * dy; }
};

struct Gelu {
  static constexpr bool kReadsInput = true;
  static constexpr float kRootHalf = 0.707106781f;
  static constexpr float kDensityAtZero = 0.398942280f;  // 1 / sqrt(2 pi)
  __device__ static float integral(float x) { return 0.5f * (1.0f + erff(kRootHalf * x)); }
  __device__ float value(float x) const { return x * integral(x); }
  __device__ float gradient(float x, float dy) const {
    return (integral(x) + x * kDensityAtZero * expf(-0.5f * x * x)) * dy;
  }
};

/// approximate = "tanh"
struct GeluByTanh {
  static constexpr bool kReadsInput = true;
  static constexpr float kCubic = 0.044715f, kRootTwoByPi = 0.797884561f;
  __device__ static float form(float x) { return tanhf(kRootTwoByPi * (x + kCubic * x * x * x)); }
  __device__ float value(float x) const { return 0.5f * x * (1.0f + form(x)); }
  __device__ float gradient(float x, float dy) const {
    const float t = form(x);
    return (0.5f * (1.0f + t) +
            0.5f * x * (1.0f - t * t) * kRootTwoByPi * (1.0f + 3.0f * kCubic * x * x)) *
           dy;
  }
};

struct LeakyRelu {
  static constexpr bool kReadsInput = false;
  float alpha;
  __device__ float value(float x) const { return x > 0.0f ? x : alpha * x; }
  __device__ float gradient(float y, float dy) const { return y > 0.0f ? dy : alpha * dy; }
};

struct Relu {
  static constexpr bool kReadsInput = false;
  __device__ float value(float x) const { return x < 0.0f ? 0.0f : x; }  // NaN stays
  __device__ float gradient(float y, float dy) const { return y > 0.0f ? dy : 0.0f; }
};

struct Sigmoid {
  static constexpr bool kReadsInput = false;
  // The quick division gives 0 for a divisor above 2^126, where a quotient is as good as that.
  __device__ float value(float x) const { return __fdividef(1.0f, 1.0f + expf(-x)); }
  __device__ float gradient(float y, float dy) const { return y * (1.0f - y) * dy; }
};

struct Softplus {
  static constexpr bool kReadsInput = false;
  __device__ float value(float x) const {
    return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));  // NaN stays, by the second term
  }
  __device__ float gradient(float y, float dy) const { return -expm1f(-y) * dy; }
};

struct Tanh {
  static constexpr bool kReadsInput = false;
  __device__ float value(float x) const { return tanhf(x); }
  __device__ float gradient(float y, float dy) const { return (1.0f - y * y) * dy; }
};

template <class Activation>
struct ValueOf {
  Activation f;
  __device__ float operator()(float x) const { return f.value(x); }
};
template <class Activation>
struct GradientOf {
  Activation f;
  __device__ float operator()(float v, float dy) const { return f.gradient(v, dy); }
};

/// The kernels of such an operator; `name` is a literal.
template <class Activation>
void activation_forward(const char* name, OpContext& ctx, Inputs in, Outputs out, Activation f) {
  map_unary(name, ctx, in[0], out[0], ValueOf<Activation>{f});
}
template <class Activation>
void activation_backward(const char* name, OpContext& ctx, Inputs in, Outputs out, Activation f) {
  map_binary(name, ctx, in[Activation::kReadsInput ? 0 : 1], in[2], out[0],
             GradientOf<Activation>{f});
}

inline float alpha_of(const OpContext& ctx, double default_alpha) {
  return static_cast<float>(ctx.attributes.get_float("alpha", default_alpha));
}

}  // namespace phalanx
