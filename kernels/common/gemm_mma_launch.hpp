// SPDX-License-Identifier: Apache-2.0
/// The choice among the kernels of gemm_mma.hpp, for the two sources that contain them.
#pragma once

#include "common/gemm_launch.hpp"
#include "common/gemm_mma.hpp"

namespace phalanx::gemm {

template <class Mma>
TileSize mma_tile(GemmTile tile) {
  constexpr int kStep = kDepth<typename Mma::Element>;
  switch (tile) {
    case GemmTile::kSmall: return {SmallShape::kRows, SmallShape::kColumns, kStep};
    case GemmTile::kMedium: return {MediumShape::kRows, MediumShape::kColumns, kStep};
    case GemmTile::kLarge: break;
  }
  return {LargeShape::kRows, LargeShape::kColumns, kStep};
}

template <class Mma, class Shape, bool kAligned>
void launch_shape(const char* name, unsigned blocks, const Arguments& arguments,
                  BackendStream& stream) {
  const bool b_along_k = arguments.b_along_k;
  const auto kernel = arguments.a_along_k
                          ? (b_along_k ? gemm_mma_kernel<Mma, Shape, true, true, kAligned>
                                       : gemm_mma_kernel<Mma, Shape, true, false, kAligned>)
                          : (b_along_k ? gemm_mma_kernel<Mma, Shape, false, true, kAligned>
                                       : gemm_mma_kernel<Mma, Shape, false, false, kAligned>);
  launch(name, kernel, blocks, Shape::kThreads, Shape::kSharedBytes, stream, arguments);
}

template <class Mma>
void launch_mma(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                const Arguments& arguments, BackendStream& stream) {
  const bool both = aligned.a && aligned.b;
  require(both || tile != GemmTile::kLarge, "large tiles of a product need aligned operands");
  switch (tile) {
    case GemmTile::kSmall:
      return both ? launch_shape<Mma, SmallShape, true>(name, blocks, arguments, stream)
                  : launch_shape<Mma, SmallShape, false>(name, blocks, arguments, stream);
    case GemmTile::kMedium:
      return both ? launch_shape<Mma, MediumShape, true>(name, blocks, arguments, stream)
                  : launch_shape<Mma, MediumGatheringShape, false>(name, blocks, arguments, stream);
    case GemmTile::kLarge: break;
  }
  launch_shape<Mma, LargeShape, true>(name, blocks, arguments, stream);
}

}  // namespace phalanx::gemm
