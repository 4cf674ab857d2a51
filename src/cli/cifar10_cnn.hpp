// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace phalanx {

/// configs/cifar10_cnn.cfg as it was when the program was built, for benchmarks that run without the repository.
extern const std::string_view kCifar10Cnn;

}  // namespace phalanx
