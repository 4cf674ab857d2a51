// SPDX-License-Identifier: Apache-2.0
// What elementwise operators of two inputs do beyond the operator harness: an f32 parameter beside bf16 activations.
#include <gtest/gtest.h>

#include <vector>

#include "add/add.hpp"
#include "mul/mul.hpp"

namespace phalanx {
namespace {

class Binary : public testing::Test {
 protected:
  /// A tensor whose element i is first + i / 8: exact in bf16 for small i.
  Tensor numbers(const TensorType& type, float first) {
    Tensor tensor(type, stream_);
    with_float_type(type.dtype, [&]<class T>() {
      for (std::size_t i = 0; i < tensor.as<T>().size(); ++i)
        tensor.as<T>()[i] = T(first + 0.125f * static_cast<float>(i));
    });
    return tensor;
  }

  Stream stream_{Device{}};
  const TensorType activation_{DType::kBf16, Shape{3, 4}};
  const TensorType parameter_{DType::kF32, Shape{4}};
};

float at(const Tensor& tensor, std::size_t i) {
  return tensor.type().dtype == DType::kBf16 ? static_cast<float>(tensor.as<Bf16>()[i])
                                             : tensor.as<float>()[i];
}

TEST_F(Binary, AnF32ParameterOnEitherSideOfBf16GivesBf16) {
  const Tensor x = numbers(activation_, 1), w = numbers(parameter_, 2);
  for (const bool first : {false, true}) {
    const Tensor y = numbers(activation_, 0);
    const std::vector<ConstTensorView> in = first
                                                ? std::vector<ConstTensorView>{w.view(), x.view()}
                                                : std::vector<ConstTensorView>{x.view(), w.view()};
    run_forward(add_op, {}, in, std::vector{y.view()}, stream_);
    for (std::size_t i = 0; i < 12; ++i)
      EXPECT_EQ(at(y, i), at(x, i) + at(w, i % 4)) << "element " << i;
  }
}

TEST_F(Binary, TheGradientOfAnF32ParameterIsSummedInF32AndAdded) {
  const Tensor x = numbers(activation_, 1), w = numbers(parameter_, 2),
               dy = numbers(activation_, -1);
  const Tensor dx = numbers(activation_, 0), dw = numbers(parameter_, 100);
  const std::vector<ConstTensorView> in = {x.view(), w.view(), {nullptr, activation_}, dy.view()};
  run_backward(mul_op, {}, in, std::vector{dx.view(), dw.view()}, stream_, {}, 0b10);
  for (std::size_t i = 0; i < 12; ++i)
    EXPECT_EQ(at(dx, i), static_cast<float>(Bf16(at(dy, i) * at(w, i % 4)))) << "element " << i;
  for (std::size_t j = 0; j < 4; ++j) {
    float sum = 100 + 0.125f * static_cast<float>(j);
    for (std::size_t i = j; i < 12; i += 4) sum += at(dy, i) * at(x, i);
    EXPECT_EQ(at(dw, j), sum) << "column " << j;
  }
}

TEST_F(Binary, EitherGradientMayTakeThePlaceOfDyWhileBothAreWanted) {
  for (const std::size_t in_place : {0, 1}) {
    const Tensor a = numbers(activation_, 1), b = numbers(activation_, 2),
                 dy = numbers(activation_, -1);
    const Tensor other = numbers(activation_, 0);
    std::vector<float> expected[2];
    for (std::size_t i = 0; i < 12; ++i) {
      expected[0].push_back(static_cast<float>(Bf16(at(dy, i) * at(b, i))));
      expected[1].push_back(static_cast<float>(Bf16(at(dy, i) * at(a, i))));
    }
    const std::vector<ConstTensorView> in = {a.view(), b.view(), {nullptr, activation_}, dy.view()};
    const std::vector<TensorView> out =
        in_place == 0 ? std::vector{dy.view(), other.view()} : std::vector{other.view(), dy.view()};
    run_backward(mul_op, {}, in, out, stream_);
    for (std::size_t k = 0; k < 2; ++k)
      for (std::size_t i = 0; i < 12; ++i)
        EXPECT_EQ(at(k == in_place ? dy : other, i), expected[k][i])
            << "gradient " << k << ", element " << i;
  }
}

TEST_F(Binary, OperandsInDifferentMemoryFormatsAreRefused) {
  const TensorType plain{DType::kF32, Shape{1, 16, 2, 2}},
      blocked{DType::kF32, Shape{1, 16, 2, 2}, 8};
  const Tensor a = numbers(plain, 0), b = numbers(blocked, 0), y = numbers(plain, 0);
  EXPECT_THROW(run_forward(add_op, {}, std::vector<ConstTensorView>{a.view(), b.view()},
                           std::vector{y.view()}, stream_),
               InvalidArgument);
}

}  // namespace
}  // namespace phalanx
