// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_f32.hpp"

#include "common/gemm_launch.hpp"

namespace phalanx::gemm {
namespace {

constexpr int kSmallSide = 4, kLargeSide = 8;

template <int kSide>
void launch_side(const char* name, Alignment packs, unsigned blocks, const Arguments& arguments,
                 BackendStream& stream) {
  const auto kernel =
      packs.a
          ? (packs.b ? gemm_f32_kernel<kSide, true, true> : gemm_f32_kernel<kSide, true, false>)
          : (packs.b ? gemm_f32_kernel<kSide, false, true> : gemm_f32_kernel<kSide, false, false>);
  launch(name, kernel, blocks, kF32Threads, f32_shared_bytes<kSide>(), stream, arguments);
}

}  // namespace

TileSize f32_tile(GemmTile tile) {
  const int side = tile == GemmTile::kSmall ? kSmallSide : kLargeSide;
  return {16 * side, 16 * side, kF32Depth};
}

void launch_f32(const char* name, GemmTile tile, Alignment aligned, unsigned blocks,
                const Arguments& arguments, BackendStream& stream) {
  // What lies along K is transposed element by element, however it is aligned.
  const Alignment packs{aligned.a && !arguments.a_along_k, aligned.b && !arguments.b_along_k};
  if (tile == GemmTile::kSmall)
    launch_side<kSmallSide>(name, packs, blocks, arguments, stream);
  else
    launch_side<kLargeSide>(name, packs, blocks, arguments, stream);
}

}  // namespace phalanx::gemm
