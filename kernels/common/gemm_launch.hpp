// SPDX-License-Identifier: Apache-2.0
/// The kernels behind GemmOwn, each family in a source of its own: they take nvcc long.
#pragma once

#include "common/gemm_own.hpp"
#include "common/gemm_tile.hpp"
#include "common/launch.hpp"

namespace phalanx::gemm {

/// Whether 16 bytes of an operand can be copied at once.
struct Alignment {
  bool a = false, b = false;
};

/// The size of a family's tiles, and how far along K they reach.
struct TileSize {
  int rows, columns, depth;
};

TileSize f32_tile(GemmTile tile);
TileSize bf16_tile(GemmTile tile);
TileSize tf32_tile(GemmTile tile);

void launch_f32(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                const Arguments& arguments, BackendStream& stream);
/// Large tiles need both operands aligned.
void launch_bf16(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                 const Arguments& arguments, BackendStream& stream);
void launch_tf32(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                 const Arguments& arguments, BackendStream& stream);

}  // namespace phalanx::gemm
