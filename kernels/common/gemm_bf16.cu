// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_mma_launch.hpp"

namespace phalanx::gemm {

TileSize bf16_tile(GemmTile tile) { return mma_tile<Bf16Mma>(tile); }

void launch_bf16(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                 const Arguments& arguments, BackendStream& stream) {
  launch_mma<Bf16Mma>(name, tile, aligned, blocks, arguments, stream);
}

}  // namespace phalanx::gemm
