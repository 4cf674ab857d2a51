// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensor/tensor.hpp"

namespace phalanx {

// What every communicator refuses. Each throws InvalidArgument.

void require_reducible(const TensorType& type);
void require_root(int root, int size);
void require_parts(const TensorType& all, const TensorType& mine, int size);

}  // namespace phalanx
