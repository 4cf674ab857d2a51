// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_mma_launch.hpp"

namespace phalanx::gemm {

TileSize tf32_tile(GemmTile tile) { return mma_tile<Tf32Mma>(tile); }

void launch_tf32(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                 const Arguments& arguments, BackendStream& stream) {
  launch_mma<Tf32Mma>(name, tile, aligned, blocks, arguments, stream);
}

}  // namespace phalanx::gemm
