// SPDX-License-Identifier: Apache-2.0
#include "comm/combine.hpp"

#include <algorithm>
#include <array>

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

template <class T, class Op>
void combine_blocks(Op op, std::span<const void* const> inputs, T* out, std::int64_t count) {
  alignas(64) std::array<T, kBlock> block;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    std::copy_n(static_cast<const T*>(inputs[0]) + begin, n, block.data());
    for (const void* const input : inputs.subspan(1)) {
      const T* x = static_cast<const T*>(input) + begin;
      for (std::int64_t i = 0; i < n; ++i) block[i] = op(block[i], x[i]);
    }
    std::copy_n(block.data(), n, out + begin);
  }
}

template <class T>
void combine_as(ReduceOp op, std::span<const void* const> inputs, void* out, std::int64_t count) {
  T* typed = static_cast<T*>(out);
  switch (op) {
    case ReduceOp::kSum: return combine_blocks(Sum{}, inputs, typed, count);
    case ReduceOp::kMax: return combine_blocks(Max{}, inputs, typed, count);
    case ReduceOp::kMin: return combine_blocks(Min{}, inputs, typed, count);
  }
}

}  // namespace

void combine(ReduceOp op, DType type, std::span<const void* const> inputs, void* out,
             std::int64_t count) {
  switch (type) {
    case DType::kF32: return combine_as<float>(op, inputs, out, count);
    case DType::kI64: return combine_as<std::int64_t>(op, inputs, out, count);
    case DType::kI32: return combine_as<std::int32_t>(op, inputs, out, count);
    default:
      throw InvalidArgument(fmt::format("a reduction takes f32, i64 or i32, found {}", name(type)));
  }
}

}  // namespace phalanx
