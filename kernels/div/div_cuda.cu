// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cuda.hpp"

namespace phalanx {
namespace {

struct Quotient {
  __device__ float operator()(float dy, float b, float) const { return dy / b; }
};
struct OfDivisor {
  __device__ float operator()(float dy, float a, float b) const { return -dy * a / (b * b); }
};

struct Div {
  static constexpr const char *kForward = "div_forward", *kBackward = "div_backward";
  static constexpr const char *kSum = "div_backward_sum", *kJoin = "div_backward_join";
  __device__ static float value(float a, float b) { return a / b; }
  using Da = binary::Gradient<Quotient, 1>;
  using Db = binary::Gradient<OfDivisor, 0, 1>;
};

}  // namespace

extern const DeviceKernels div_cuda;
const DeviceKernels div_cuda = binary_kernels<Div>();

}  // namespace phalanx
