// SPDX-License-Identifier: Apache-2.0
#include "test_device.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace phalanx::operators_test {
namespace {

/// Whose products and convolutions; unset: whoever is faster.
KernelChoice test_kernels_by() {
  const char* by = std::getenv("PHALANX_TEST_KERNELS");
  const std::string_view name = by == nullptr ? "" : by;
  return name == "own"       ? KernelChoice::kOwn
         : name == "library" ? KernelChoice::kVendor
                             : KernelChoice::kAuto;
}

struct TestDevice {
  std::unique_ptr<LoadedBackend> backend;
  std::unique_ptr<Stream> stream;

  TestDevice() {
    Device device;
    if (const char* library = std::getenv("PHALANX_TEST_BACKEND")) {
      backend = std::make_unique<LoadedBackend>(library);
      const char* tf32 = std::getenv("PHALANX_TEST_TF32");
      backend->get().options.tf32 = tf32 != nullptr && std::string_view(tf32) == "1";
      backend->get().options.gemm = backend->get().options.conv = test_kernels_by();
      device = {DeviceKind::kCuda, 0, &backend->get()};
    }
    stream = std::make_unique<Stream>(device);
  }
};

}  // namespace

Stream& test_stream() {
  static const TestDevice device;
  return *device.stream;
}

bool tests_tf32() { return !tests_cpu() && test_stream().device().backend->options.tf32; }

}  // namespace phalanx::operators_test
