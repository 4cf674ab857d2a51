// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "op/op.hpp"

namespace phalanx {

/// The state of a kernel that needs nothing but workspace.
class Scratch final : public OpState {
 public:
  explicit Scratch(std::size_t size_bytes) : size_bytes_(size_bytes) {}
  std::size_t workspace_bytes() const noexcept override { return size_bytes_; }

 private:
  std::size_t size_bytes_;
};

}  // namespace phalanx
