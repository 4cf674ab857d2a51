// SPDX-License-Identifier: Apache-2.0
#include "tensor/combine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <type_traits>

#include "device/backend.hpp"

namespace phalanx {
namespace {

// A block of partial results stays in the first-level cache while the inputs stream by.
constexpr std::int64_t kBlock = 1024;

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

/// Elements as they stand in memory, and as they are combined.
template <class Stored, class Wide>
struct Block {
  std::int64_t begin, count;

  // Combines this block of all inputs. The result is in `space`, or where the only input stands. The left half comes
  // first, so that `space` may be the block of an input.
  template <class Op>
  const Wide* combine(Op op, std::span<const void* const> inputs, Wide* space) const {
    if (inputs.size() == 1) return read(inputs[0], space);
    const std::size_t left = std::bit_floor(inputs.size() - 1);
    alignas(64) std::array<Wide, kBlock> space_of_left;
    const Wide* a = combine(op, inputs.first(left), space_of_left.data());
    const Wide* b = combine(op, inputs.subspan(left), space);
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) space[i] = op(a[i], b[i]);
    return space;
  }
  const Wide* read(const void* input, Wide* space) const {
    const auto* from = static_cast<const Stored*>(input) + begin;
    if constexpr (std::is_same_v<Stored, Wide>) {
      return from;
    } else {
      for (std::int64_t i = 0; i < count; ++i) space[i] = static_cast<Wide>(from[i]);
      return space;
    }
  }
  void write(const Wide* result, void* output) const {
    auto* to = static_cast<Stored*>(output) + begin;
    if constexpr (std::is_same_v<Stored, Wide>) {
      if (result != to) std::copy_n(result, count, to);
    } else {
      for (std::int64_t i = 0; i < count; ++i) to[i] = Stored(result[i]);
    }
  }
};

template <class Stored, class Wide, class Op>
void combine_blocks(Op op, std::span<const void* const> inputs, std::span<void* const> outputs,
                    std::int64_t count) {
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const Block<Stored, Wide> block{begin, std::min(kBlock, count - begin)};
    alignas(64) std::array<Wide, kBlock> own_space;
    Wide* space = own_space.data();
    if constexpr (std::is_same_v<Stored, Wide>) space = static_cast<Wide*>(outputs[0]) + begin;
    const Wide* result = block.combine(op, inputs, space);
    for (void* output : outputs) block.write(result, output);
  }
}

template <class Stored, class Wide = Stored>
void combine_as(ReduceOp op, std::span<const void* const> inputs, std::span<void* const> outputs,
                std::int64_t count) {
  switch (op) {
    case ReduceOp::kSum: return combine_blocks<Stored, Wide>(Sum{}, inputs, outputs, count);
    case ReduceOp::kMax: return combine_blocks<Stored, Wide>(Max{}, inputs, outputs, count);
    case ReduceOp::kMin: return combine_blocks<Stored, Wide>(Min{}, inputs, outputs, count);
  }
}

}  // namespace

void combine(ReduceOp op, DType type, std::span<const void* const> inputs,
             std::span<void* const> outputs, std::int64_t count) {
  switch (type) {
    case DType::kF32: return combine_as<float>(op, inputs, outputs, count);
    case DType::kBf16: return combine_as<Bf16, float>(op, inputs, outputs, count);
    case DType::kI64: return combine_as<std::int64_t>(op, inputs, outputs, count);
    case DType::kI32: return combine_as<std::int32_t>(op, inputs, outputs, count);
    case DType::kU8: break;
  }
  throw InvalidArgument(
      fmt::format("a reduction takes f32, bf16, i64 or i32, found {}", name(type)));
}

void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* output,
             std::int64_t count, Stream& stream) {
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->combine(op, type, inputs, output, count, stream.handle());
  else
    combine(op, type, inputs, output, count);
}

}  // namespace phalanx
