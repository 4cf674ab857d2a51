// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include "common/divisor.hpp"
#include "common/launch.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

constexpr int kThreads = 256;
constexpr int kUnroll = 4;
constexpr int kMostParts = 31;  // inputs that the contract allows

/// The pieces of one part, one for each row of the whole; sizes in units of bytes that are moved as one.
struct Part {
  void* data;
  Divisor piece;
  std::int64_t offset;  // of a piece in its row
  std::int64_t count;   // of units in all pieces
  unsigned first_block;
};
struct Parts {
  Part parts[kMostParts];
  int count;
  void* whole;
  std::int64_t row;
};

/// Who       a block takes a stretch of one part, each thread kUnroll units of it, a block's width apart
/// Memory    registers; each byte is read and written once
/// Barriers  none
/// Bound     by bytes
/// Sizes     any; pieces are whole numbers of units
template <class Unit, bool kSplits>
__global__ void __launch_bounds__(kThreads)
    concat_pieces_kernel(const __grid_constant__ Parts parts) {
  int k = 0;
  while (k + 1 < parts.count && blockIdx.x >= parts.parts[k + 1].first_block) ++k;
  const Part& part = parts.parts[k];
  auto* pieces = static_cast<Unit*>(part.data);
  auto* rows = static_cast<Unit*>(parts.whole) + part.offset;
  const std::int64_t between = parts.row - static_cast<std::int64_t>(part.piece.size());
  const std::int64_t first =
      static_cast<std::int64_t>(blockIdx.x - part.first_block) * (kThreads * kUnroll) + threadIdx.x;
  Unit units[kUnroll];
  std::int64_t at[kUnroll];  // in the rows
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t i = first + u * kThreads;
    if (i >= part.count) continue;
    at[u] =
        i + static_cast<std::int64_t>(part.piece.quotient(static_cast<std::uint64_t>(i))) * between;
    units[u] = kSplits ? rows[at[u]] : pieces[i];
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const std::int64_t i = first + u * kThreads;
    if (i >= part.count) continue;
    (kSplits ? pieces[i] : rows[at[u]]) = units[u];
  }
}

template <bool kSplits>
void move(const char* name, const OpContext& ctx, Types types, const TensorType& whole, Parts parts,
          void* const* data) {
  if (whole.shape.numel() == 0) return;
  const int axis = whole.shape.normalised_axis(ctx.attributes.get_int("axis", 0));
  const auto element_bytes = static_cast<std::int64_t>(size_bytes(whole.dtype));
  const std::int64_t rows = whole.shape.product(0, axis);
  const auto piece_bytes = [&](const TensorType& type) {
    return type.shape.product(axis, type.shape.rank()) * element_bytes;
  };
  std::int64_t unit_bytes = 16;
  for (const TensorType& type : types) unit_bytes = std::gcd(unit_bytes, piece_bytes(type));

  parts.row = piece_bytes(whole) / unit_bytes;
  std::int64_t offset = 0;
  unsigned blocks = 0;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const std::int64_t piece = piece_bytes(types[i]) / unit_bytes;
    if (piece > 0 && data[i] != nullptr) {
      parts.parts[parts.count++] = {data[i], Divisor(piece), offset, rows * piece, blocks};
      blocks += blocks_for(rows * piece, kThreads * kUnroll);
    }
    offset += piece;
  }
  const auto run = [&]<class Unit>() {
    launch(name, concat_pieces_kernel<Unit, kSplits>, blocks, kThreads, 0, ctx.stream, parts);
  };
  switch (unit_bytes) {
    case 2: return run.template operator()<std::uint16_t>();
    case 4: return run.template operator()<std::uint32_t>();
    case 8: return run.template operator()<uint2>();
    default: return run.template operator()<uint4>();
  }
}

void forward(OpContext& ctx, Inputs in, Outputs out) {
  TensorType types[kMostParts];
  void* data[kMostParts];
  for (std::size_t i = 0; i < in.size(); ++i) {
    types[i] = in[i].type;
    data[i] = const_cast<void*>(in[i].data);  // read only
  }
  move<false>("concat_forward", ctx, Types(types, in.size()), out[0].type,
              {.count = 0, .whole = out[0].data}, data);
}

void backward(OpContext& ctx, Inputs in, Outputs out) {
  // in: x0 ... xk, y, dy. Places need the sizes of all inputs, whether their gradients are wanted or not.
  TensorType types[kMostParts];
  void* data[kMostParts];
  for (std::size_t i = 0; i < out.size(); ++i) {
    types[i] = in[i].type;
    data[i] = out[i].data;
  }
  move<true>("concat_backward", ctx, Types(types, out.size()), in.back().type,
             {.count = 0, .whole = const_cast<void*>(in.back().data)}, data);
}

}  // namespace

extern const DeviceKernels concat_cuda;
const DeviceKernels concat_cuda = {.forward = forward, .backward = backward};

}  // namespace phalanx
