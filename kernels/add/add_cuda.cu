// SPDX-License-Identifier: Apache-2.0
#include "common/binary_cuda.hpp"

namespace phalanx {
namespace {

struct Add {
  static constexpr const char *kForward = "add_forward", *kBackward = "add_backward";
  static constexpr const char *kSum = "add_backward_sum", *kJoin = "add_backward_join";
  __device__ static float value(float a, float b) { return a + b; }
  using Da = binary::Gradient<binary::Same>;
  using Db = binary::Gradient<binary::Same>;
};

}  // namespace

extern const DeviceKernels add_cuda;
const DeviceKernels add_cuda = binary_kernels<Add>();

}  // namespace phalanx
