// SPDX-License-Identifier: Apache-2.0
#include "comm/checks.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace phalanx {

void require_reducible(const TensorType& type) {
  require(type.dtype != DType::kU8,
          fmt::format("a reduction takes f32, bf16, i64 or i32, found {}", type.str()));
}

void require_root(int root, int size) {
  require(root >= 0 && root < size,
          fmt::format("expected a root in [0, {}), found {}", size, root));
}

// `all` stands in the message as the first operand.
void require_parts(const TensorType& all, const TensorType& mine, int size) {
  const bool ok = all.dtype == mine.dtype && all.shape.numel() == mine.shape.numel() * size;
  require(ok, fmt::format("expected {} parts of {} in all, found {}", size, mine.str(), all.str()));
}

}  // namespace phalanx
