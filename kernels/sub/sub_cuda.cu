// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cuda.hpp"

namespace phalanx {
namespace {

struct Negative {
  __device__ float operator()(float dy, float, float) const { return -dy; }
};

struct Sub {
  static constexpr const char *kForward = "sub_forward", *kBackward = "sub_backward";
  static constexpr const char *kSum = "sub_backward_sum", *kJoin = "sub_backward_join";
  __device__ static float value(float a, float b) { return a - b; }
  using Da = binary::Gradient<binary::Same>;
  using Db = binary::Gradient<Negative>;
};

}  // namespace

extern const DeviceKernels sub_cuda;
const DeviceKernels sub_cuda = binary_kernels<Sub>();

}  // namespace phalanx
