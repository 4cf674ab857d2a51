// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "batch_norm/batch_norm.hpp"
#include "common/cases.hpp"

namespace phalanx {
namespace {

// Two passes per channel. In training, outputs 1 and 2 are the running statistics, 3 and 4 the
// saved mean and rstd.
void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const std::int64_t channels = x[1], pixels = x.product(2, x.rank());
  const auto count = static_cast<double>(x[0] * pixels);
  const bool training = attributes.get_int("training_mode", 0) != 0;
  const double epsilon = attributes.get_float("epsilon", 1e-5),
               momentum = attributes.get_float("momentum", 0.9);
  const auto at = [&](std::int64_t n, std::int64_t c, std::int64_t p) {
    return (n * channels + c) * pixels + p;
  };
  for (std::int64_t c = 0; c < channels; ++c) {
    double mean = in[3][c], var = in[4][c];
    if (training && count > 0) {
      mean = var = 0;
      for (std::int64_t n = 0; n < x[0]; ++n)
        for (std::int64_t p = 0; p < pixels; ++p) mean += in[0][at(n, c, p)] / count;
      for (std::int64_t n = 0; n < x[0]; ++n)
        for (std::int64_t p = 0; p < pixels; ++p)
          var += std::pow(in[0][at(n, c, p)] - mean, 2) / count;
    }
    if (training) {
      out[1][c] = momentum * in[3][c] + (1 - momentum) * mean;
      out[2][c] = momentum * in[4][c] + (1 - momentum) * var;
    }
    const double rstd = 1 / std::sqrt(var + epsilon);
    for (std::int64_t n = 0; n < x[0]; ++n)
      for (std::int64_t p = 0; p < pixels; ++p)
        out[0][at(n, c, p)] = (in[0][at(n, c, p)] - mean) * rstd * in[1][c] + in[2][c];
  }
}

std::vector<TensorType> types(const Shape& x) {
  const TensorType per_channel{DType::kF32, Shape{x[1]}};
  return {{DType::kF32, x}, per_channel, per_channel, per_channel, per_channel};
}

template <std::int64_t C, std::int64_t H, std::int64_t W>
std::vector<TensorType> images(std::int64_t n) {
  return types(Shape{n, C, H, W});
}

const Attributes kTraining{{"training_mode", std::int64_t{1}}};
const std::vector<Fill> kFill{Fill::kNormal, Fill::kNormal, Fill::kNormal, Fill::kNormal,
                              Fill::kPositive};

}  // namespace

extern const OpCases batch_norm_cases;
const OpCases batch_norm_cases = {
    .op = &batch_norm_op,
    .reference = reference,
    .cases =
        {
            {.name = "training, 64 channels, 32 x 32",
             .attributes = kTraining,
             .inputs = images<64, 32, 32>,
             .fill = kFill,
             .benchmark_n = 64,
             .tolerance_f32 = 5e-6,
             .sizes = {2}},
            {.name = "training, small images",
             .attributes = {{"training_mode", std::int64_t{1}},
                            {"momentum", 0.75},
                            {"epsilon", 1e-3}},
             .inputs = images<32, 3, 5>,
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 1, 3, 33}},
            {.name = "training, large images",
             .attributes = kTraining,
             .inputs = images<3, 64, 64>,
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {9}},
            {.name = "training, odd channels",
             .attributes = kTraining,
             .inputs = images<6, 4, 4>,
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 2, 33}},
            {.name = "training, rank 2",
             .attributes = kTraining,
             .inputs =
                 [](std::int64_t n) {
                   return types(Shape{n, 19});
                 },
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 31, 1025}},
            {.name = "training, rank 3",
             .attributes = kTraining,
             .inputs =
                 [](std::int64_t n) {
                   return types(Shape{n, 3, 70});
                 },
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 1, 33}},
            {.name = "inference, 32 channels",
             .inputs = images<32, 5, 6>,
             .fill = kFill,
             .benchmark_n = 0,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 1, 33}},
            {.name = "inference, rank 2",
             .attributes = {{"epsilon", 0.1}},
             .inputs =
                 [](std::int64_t n) {
                   return types(Shape{n, 33});
                 },
             .fill = kFill,
             .tolerance_f32 = 5e-6,
             .sizes = {0, 1, 33}},
        },
    .refusals =
        {
            {.name = "rank 1",
             .inputs = {{DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}}},
             .message = "[N, C, ...]"},
            {.name = "no channels", .inputs = images<0, 4, 4>(2), .message = "no channels"},
            {.name = "scale of another size",
             .inputs = {{DType::kF32, Shape{2, 4}},
                        {DType::kF32, Shape{3}},
                        {DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}},
                        {DType::kF32, Shape{4}}},
             .message = "scale must be f32 [4]"},
            {.name = "epsilon of zero",
             .attributes = {{"epsilon", 0.0}},
             .inputs = images<3, 4, 4>(2),
             .message = "epsilon"},
            {.name = "momentum above one",
             .attributes = {{"momentum", 1.5}},
             .inputs = images<3, 4, 4>(2),
             .message = "momentum must be in [0, 1]"},
        },
};

}  // namespace phalanx
