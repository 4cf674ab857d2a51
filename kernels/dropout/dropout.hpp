// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "core/rng.hpp"
#include "op/op.hpp"

namespace phalanx {

/// Drops elements at random:  y = 0 with probability ratio, else x / (1 - ratio).
///
/// Shapes    x, y equal, rank 1 or more; the first axis counts the rows of the batch.
/// Types     f32 or bf16.
/// Attributes ratio = 0.5, in [0, 1); 0 copies.
/// Layout    any format. Element e of a row (in plain order) is dropped if word e % 4 of philox(seed, {e / 4,
///           first_row + row, step, tag | node}) is below ratio * 2^32; see dropout_counter. The memory format and
///           the cut of the batch have no influence.
/// Aliasing  y may be x, dx may be dy.
/// Gradients dx = dy under the same mask, drawn again: nothing is saved.
/// Empty     nothing is done.
/// Throws    InvalidArgument on a rank, type or ratio that does not fit.
/// ONNX      Dropout, opset 13, in training mode; ratio is an attribute and there is no output mask.
/// Source    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15.
extern const OpSpec dropout_op;

/// Words 1, 2 and 3 of the counter of a row; word 0 is the place of four elements in it. `row` and
/// `step` modulo 2^32, `node` modulo 2^24.
inline std::array<std::uint32_t, 3> dropout_counter(const RandomState& random,
                                                    std::int64_t row) noexcept {
  return {static_cast<std::uint32_t>(random.first_row + static_cast<std::uint64_t>(row)),
          static_cast<std::uint32_t>(random.step),
          static_cast<std::uint32_t>(RandomStream::kDropout) << 24 | (random.node & 0xFFFFFFu)};
}

/// Words below this are dropped.
/// Throws    InvalidArgument for a ratio outside [0, 1).
std::uint32_t dropout_threshold(const Attributes& attributes);

}  // namespace phalanx
