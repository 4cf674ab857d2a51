// SPDX-License-Identifier: Apache-2.0
#include "tensor/combine.hpp"

#include <algorithm>
#include <array>
#include <bit>

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

// Combines one block of all inputs into `out`, which may be the block of an input.
template <class T, class Op>
void combine_block(Op op, std::span<const void* const> inputs, std::int64_t begin,
                   std::int64_t count, T* out) {
  const auto at = [&](std::size_t input) { return static_cast<const T*>(inputs[input]) + begin; };
  const auto pair = [&](const T* a, const T* b, T* to) {
#pragma GCC ivdep
    for (std::int64_t i = 0; i < count; ++i) to[i] = op(a[i], b[i]);
  };
  if (inputs.size() == 1) {
    if (at(0) != out) std::copy_n(at(0), count, out);
    return;
  }
  if (inputs.size() == 2) return pair(at(0), at(1), out);
  const std::size_t left = std::bit_floor(inputs.size() - 1);
  alignas(64) std::array<T, kBlock> sum_of_left;
  combine_block(op, inputs.first(left), begin, count, sum_of_left.data());
  if (inputs.size() - left == 1) return pair(sum_of_left.data(), at(left), out);
  alignas(64) std::array<T, kBlock> sum_of_right;
  combine_block(op, inputs.subspan(left), begin, count, sum_of_right.data());
  pair(sum_of_left.data(), sum_of_right.data(), out);
}

template <class T, class Op>
void combine_blocks(Op op, std::span<const void* const> inputs, T* out, std::int64_t count) {
  for (std::int64_t begin = 0; begin < count; begin += kBlock)
    combine_block(op, inputs, begin, std::min(kBlock, count - begin), out + begin);
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
