// SPDX-License-Identifier: Apache-2.0
#include "average_pool/average_pool.hpp"
#include "common/cases.hpp"
#include "common/window.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const auto [h, w] = pool_window("average_pool", attributes, x);
  const bool include_pad = attributes.get_int("count_include_pad", 0) != 0;
  std::size_t at = 0;
  for (std::int64_t plane = 0; plane < x[0] * x[1]; ++plane)
    for (std::int64_t p = 0; p < h.out; ++p)
      for (std::int64_t q = 0; q < w.out; ++q, ++at) {
        double sum = 0;
        int inside = 0, padded = 0;
        for (std::int64_t r = 0; r < h.kernel; ++r)
          for (std::int64_t s = 0; s < w.kernel; ++s) {
            const std::int64_t i = p * h.stride - h.pad_begin + r * h.dilation;
            const std::int64_t j = q * w.stride - w.pad_begin + s * w.dilation;
            if (i < x[2] + h.pad_end && j < x[3] + w.pad_end) ++padded;
            if (i < 0 || i >= x[2] || j < 0 || j >= x[3]) continue;
            ++inside;
            sum += in[0][(plane * x[2] + i) * x[3] + j];
          }
        out[0][at] = sum / (include_pad ? padded : inside);
      }
}

template <std::int64_t C, std::int64_t H, std::int64_t W>
std::vector<TensorType> images(std::int64_t n) {
  return {{DType::kF32, Shape{n, C, H, W}}};
}

const std::vector<std::int64_t> kSizes{0, 1, 3, 33};

}  // namespace

extern const OpCases average_pool_cases;
const OpCases average_pool_cases = {
    .op = &average_pool_op,
    .reference = reference,
    .cases =
        {
            {.name = "2 x 2, 32 x 32",
             .attributes = {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             .inputs = images<64, 32, 32>,
             .benchmark_n = 64,
             .sizes = {1}},
            {.name = "3 x 3, stride 2, padded",
             .attributes = {{"kernel_shape", Ints{3, 3}},
                            {"strides", Ints{2, 2}},
                            {"pads", Ints{1, 1, 1, 1}}},
             .inputs = images<16, 8, 7>,
             .sizes = kSizes},
            {.name = "3 x 2, padding counts, ceil mode",
             .attributes = {{"kernel_shape", Ints{3, 2}},
                            {"strides", Ints{2, 2}},
                            {"pads", Ints{1, 0, 1, 1}},
                            {"ceil_mode", std::int64_t{1}},
                            {"count_include_pad", std::int64_t{1}}},
             .inputs = images<6, 6, 5>,
             .sizes = kSizes},
            {.name = "2 x 2, dilated, overlapping, one channel",
             .attributes = {{"kernel_shape", Ints{2, 2}}, {"dilations", Ints{1, 3}}},
             .inputs = images<1, 3, 90>,
             .sizes = kSizes},
            {.name = "4 x 4, SAME_LOWER",
             .attributes = {{"kernel_shape", Ints{4, 4}}, {"auto_pad", std::string("SAME_LOWER")}},
             .inputs = images<32, 5, 5>,
             .sizes = {0, 1, 3}},
        },
    .refusals =
        {
            {.name = "no kernel_shape",
             .inputs = images<3, 4, 4>(1),
             .message = "needs kernel_shape"},
            {.name = "rank 3",
             .attributes = {{"kernel_shape", Ints{2, 2}}},
             .inputs = {{DType::kF32, Shape{2, 4, 4}}},
             .message = "[N, C, H, W]"},
            {.name = "integers",
             .attributes = {{"kernel_shape", Ints{2, 2}}},
             .inputs = {{DType::kU8, Shape{1, 1, 4, 4}}},
             .message = "f32 or bf16"},
            {.name = "three strides",
             .attributes = {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{1, 1, 1}}},
             .inputs = images<3, 4, 4>(1),
             .message = "strides must be 2"},
            {.name = "a window of padding only",
             .attributes = {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{0, 0, 0, 2}}},
             .inputs = images<3, 4, 4>(1),
             .message = "nothing but padding"},
        },
};

}  // namespace phalanx
