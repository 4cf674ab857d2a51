// SPDX-License-Identifier: Apache-2.0
/// Products of matrices by kernels of this program.
#pragma once

#include <cstddef>
#include <vector>

#include "common/gemm_problem.hpp"
#include "device/backend.hpp"

namespace phalanx {

/// How a product is cut: into tiles of d, one for a block, and each tile's K into `splits` parts, of which the sums meet in a
/// second kernel.
enum class GemmTile : std::uint8_t { kSmall, kMedium, kLarge };
struct GemmTiling {
  GemmTile tile = GemmTile::kSmall;
  int splits = 1;
  friend bool operator==(const GemmTiling&, const GemmTiling&) = default;
};

/// Ways to cut a product, the one first that a rough model of the GPU takes for the fastest. At least one.
std::vector<GemmTiling> own_tilings(const GemmProblem& problem, int multiprocessors);

/// One product, ready to run again and again. f32: kernels without tensor cores; bf16 and tf32: mma.sync.
///
/// Numbers   f32 sums, along K in order or, with splits, part by part in order: equal inputs give equal bits.
/// Aliasing  d overlaps no operand.
/// Operands  begin at multiples of 16 bytes.
class GemmOwn {
 public:
  /// Throws    InvalidArgument for sizes from 2^31 on.
  GemmOwn(const GemmProblem& problem, GemmTiling tiling);

  std::size_t workspace_bytes() const noexcept { return workspace_bytes_; }
  /// `name` as for launch().
  void run(const char* name, const GemmOperands& operands, std::byte* workspace,
           BackendStream& stream) const;

 private:
  GemmProblem problem_;
  GemmTiling tiling_;
  std::size_t workspace_bytes_ = 0;
};

}  // namespace phalanx
