// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "device/backend.hpp"
#include "op/op.hpp"

namespace phalanx::operators_test {

/// What the program tests: the CPU, or GPU 0 of the backend that the environment variable PHALANX_TEST_BACKEND names. There
/// PHALANX_TEST_KERNELS says whose products and convolutions: own | library.
Stream& test_stream();
inline bool tests_cpu() { return test_stream().device().kind == DeviceKind::kCpu; }

/// Whether products of f32 are computed in tf32: on a GPU where the environment variable PHALANX_TEST_TF32 is 1.
bool tests_tf32();

/// Whether the device has kernels for an operator. On the CPU all have.
inline bool has_kernels(const OpSpec& op) {
  return tests_cpu() || test_stream().device().backend->kernels(op.name) != nullptr;
}
inline const DeviceKernels& test_kernels(const OpSpec& op) {
  return kernels_for(op, test_stream().device());
}

}  // namespace phalanx::operators_test
