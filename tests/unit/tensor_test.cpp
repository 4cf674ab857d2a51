// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace phalanx {
namespace {

// The value of element (n, c, h, w), exact in bf16.
float value_at(std::int64_t n, std::int64_t c, std::int64_t p) {
  return static_cast<float>((n * 64 + c * 5 + p) % 251 - 120);
}

template <class T>
void fill_image(TensorView image) {
  const Shape& s = image.shape();
  const std::int64_t pixels = s[2] * s[3], block = image.type.channel_block;
  for (std::int64_t n = 0; n < s[0]; ++n)
    for (std::int64_t c = 0; c < s[1]; ++c)
      for (std::int64_t p = 0; p < pixels; ++p)
        image.as<T>()[((n * (s[1] / block) + c / block) * pixels + p) * block + c % block] =
            T(value_at(n, c, p));
}

Tensor make_image(const TensorType& type, Stream& stream) {
  Tensor image(type, stream);
  if (type.dtype == DType::kF32)
    fill_image<float>(image.view());
  else
    fill_image<Bf16>(image.view());
  return image;
}

TEST(TensorType, RefusesABlockThatDoesNotDivideTheChannels) {
  EXPECT_THROW(TensorType(DType::kF32, {2, 24, 3, 3}, 16), InvalidArgument);
  EXPECT_THROW(TensorType(DType::kF32, {2, 24, 3, 3}, 0), InvalidArgument);
  EXPECT_THROW(TensorType(DType::kF32, {2, 24, 3, 3}, -8), InvalidArgument);
  EXPECT_THROW(TensorType(DType::kF32, {2, 24, 3}, 8), InvalidArgument);
}

TEST(TensorType, FormatsWithTheSameBytesAreEqual) {
  EXPECT_EQ(TensorType(DType::kF32, {2, 1, 3, 3}, 1).channel_block, 1);
  EXPECT_EQ(TensorType(DType::kF32, {2, 16, 1, 1}, 16), TensorType(DType::kF32, {2, 16, 1, 1}));
  EXPECT_NE(TensorType(DType::kF32, {2, 16, 2, 1}, 16), TensorType(DType::kF32, {2, 16, 2, 1}));
  EXPECT_EQ(TensorType(DType::kBf16, {2, 32, 2, 1}, 16).str(), "bf16 [2, 32, 2, 1]/16");
  EXPECT_EQ(TensorType(DType::kBf16, {2, 32}).size_bytes(), 128u);
}

TEST(Copy, ConvertsBetweenAllFormatsAndFloatingTypes) {
  Stream stream{Device{}};
  const Shape shape{3, 48, 2, 5};
  for (const DType from_type : {DType::kF32, DType::kBf16})
    for (const DType to_type : {DType::kF32, DType::kBf16})
      for (const std::int64_t from_block : {1, 8, 16, 48})
        for (const std::int64_t to_block : {1, 8, 16, 48}) {
          const Tensor from = make_image({from_type, shape, from_block}, stream);
          const Tensor expected = make_image({to_type, shape, to_block}, stream);
          const Tensor to(expected.type(), stream);
          copy(from.view(), to.view(), stream);
          EXPECT_EQ(std::memcmp(to.view().data, expected.view().data, to.type().size_bytes()), 0)
              << from.type().str() << " to " << to.type().str();
        }
}

TEST(Copy, KeepsIntegersAndEmptyTensors) {
  Stream stream{Device{}};
  const Tensor from({DType::kI64, {3}}, stream), to({DType::kI64, {3}}, stream);
  for (int i = 0; i < 3; ++i)
    from.as<std::int64_t>()[static_cast<std::size_t>(i)] = (std::int64_t{1} << 62) + i;
  copy(from.view(), to.view(), stream);
  EXPECT_EQ(to.as<std::int64_t>()[2], (std::int64_t{1} << 62) + 2);
  const Tensor empty({DType::kF32, {0, 3, 2, 2}}, stream),
      low({DType::kBf16, {0, 3, 2, 2}, 3}, stream);
  EXPECT_NO_THROW(copy(empty.view(), low.view(), stream));
}

TEST(Copy, RefusesOtherShapesAndIntegersOfAnotherType) {
  Stream stream{Device{}};
  const Tensor a({DType::kF32, {2, 3}}, stream), b({DType::kF32, {3, 2}}, stream),
      c({DType::kI64, {2, 3}}, stream);
  EXPECT_THROW(copy(a.view(), b.view(), stream), InvalidArgument);
  EXPECT_THROW(copy(a.view(), c.view(), stream), Unsupported);
}

TEST(Buffer, IsAlignedAndMoves) {
  Stream stream{Device{}};
  for (const std::size_t size : {std::size_t{1}, std::size_t{257}, std::size_t{5} << 20}) {
    Buffer buffer(size, stream);
    std::byte* data = buffer.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % kBufferAlignment, 0u);
    data[size - 1] = std::byte{7};
    Buffer moved(std::move(buffer));
    EXPECT_EQ(moved.data(), data);
    EXPECT_EQ(moved.size_bytes(), size);
    Buffer other(16, stream);
    other = std::move(moved);
    EXPECT_EQ(other.data(), data);
    EXPECT_EQ(other.data()[size - 1], std::byte{7});
  }
}

TEST(Buffer, ThatCannotBeHadIsOutOfMemory) {
  Stream stream{Device{}};
  EXPECT_THROW(Buffer(std::size_t{1} << 62, stream), OutOfMemory);
  EXPECT_THROW(Buffer(~std::size_t{0}, stream), OutOfMemory);
}

TEST(Workspace, OnlyGrows) {
  Stream stream{Device{}};
  Workspace workspace(stream);
  std::byte* first = workspace.reserve(1000);
  EXPECT_EQ(workspace.reserve(10), first);
  EXPECT_EQ(workspace.size_bytes(), 1000u);
  EXPECT_NE(workspace.reserve(2000), nullptr);
  EXPECT_EQ(workspace.size_bytes(), 2000u);
}

}  // namespace
}  // namespace phalanx
