// SPDX-License-Identifier: Apache-2.0
#include "test_device.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

namespace phalanx::operators_test {
namespace {

struct TestDevice {
  std::unique_ptr<LoadedBackend> backend;
  std::unique_ptr<Stream> stream;

  TestDevice() {
    Device device;
    if (const char* library = std::getenv("PHALANX_TEST_BACKEND")) {
      backend = std::make_unique<LoadedBackend>(library);
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

}  // namespace phalanx::operators_test
