// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "common/cases.hpp"
#include "common/window.hpp"
#include "max_pool/max_pool.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const Shape& x = types[0].shape;
  const auto [h, w] = pool_window("max_pool", attributes, x);
  std::size_t at = 0;
  for (std::int64_t plane = 0; plane < x[0] * x[1]; ++plane)
    for (std::int64_t p = 0; p < h.out; ++p)
      for (std::int64_t q = 0; q < w.out; ++q, ++at) {
        double best = -std::numeric_limits<double>::infinity();
        for (std::int64_t r = 0; r < h.kernel; ++r)
          for (std::int64_t s = 0; s < w.kernel; ++s) {
            const std::int64_t i = p * h.stride - h.pad_begin + r * h.dilation;
            const std::int64_t j = q * w.stride - w.pad_begin + s * w.dilation;
            if (i < 0 || i >= x[2] || j < 0 || j >= x[3]) continue;
            const double v = in[0][(plane * x[2] + i) * x[3] + j];
            if (!(v > best)) continue;
            best = v;
            out[1][at] = static_cast<double>(r * w.kernel + s);
          }
        out[0][at] = best;
      }
}

template <std::int64_t C, std::int64_t H, std::int64_t W>
std::vector<TensorType> images(std::int64_t n) {
  return {{DType::kF32, Shape{n, C, H, W}}};
}

const std::vector<std::int64_t> kSizes{0, 1, 3, 33};
const std::vector<Fill> kFill{Fill::kDistinct};

}  // namespace

extern const OpCases max_pool_cases;
const OpCases max_pool_cases =
    {
        .op = &max_pool_op,
        .reference = reference,
        .cases =
            {
                {.name = "2 x 2, 32 x 32",
                 .attributes = {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
                 .inputs = images<64, 32, 32>,
                 .fill = kFill,
                 .benchmark_n = 64,
                 .sizes = {1}},
                {.name = "2 x 2, odd image",
                 .attributes = {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
                 .inputs = images<16, 5, 7>,
                 .fill = kFill,
                 .sizes = kSizes},
                {.name = "3 x 3, stride 2, padded",
                 .attributes = {{"kernel_shape", Ints{3, 3}},
                                {"strides", Ints{2, 2}},
                                {"pads", Ints{1, 1, 1, 1}}},
                 .inputs = images<32, 8, 9>,
                 .fill = kFill,
                 .benchmark_n = 0,
                 .sizes = kSizes},
                {.name = "2 x 2, ceil mode, six channels",
                 .attributes = {{"kernel_shape", Ints{2, 2}},
                                {"strides", Ints{2, 2}},
                                {"ceil_mode", std::int64_t{1}}},
                 .inputs = images<6, 5, 5>,
                 .fill = kFill,
                 .sizes = kSizes},
                {.name = "2 x 3, dilated, overlapping",
                 .attributes = {{"kernel_shape", Ints{2, 3}}, {"dilations", Ints{2, 1}}},
                 .inputs = images<3, 6, 5>,
                 .fill = kFill,
                 .sizes = kSizes},
                {.name = "3 x 3, stride 3, SAME_UPPER",
                 .attributes = {{"kernel_shape", Ints{3, 3}},
                                {"strides", Ints{3, 3}},
                                {"auto_pad", std::string("SAME_UPPER")}},
                 .inputs = images<1, 7, 40>,
                 .fill = kFill,
                 .sizes = kSizes},
                {.name = "more than 256 cells",
                 .attributes = {{"kernel_shape", Ints{17, 17}}},
                 .inputs = images<16, 17, 18>,
                 .fill = kFill,
                 .sizes = {0, 1, 2}},
            },
        .refusals =
            {
                {.name = "no kernel_shape",
                 .inputs = images<3, 4, 4>(1),
                 .message = "needs kernel_shape"},
                {.name = "rank 2",
                 .attributes = {{"kernel_shape", Ints{2, 2}}},
                 .inputs = {{DType::kF32, Shape{4, 4}}},
                 .message = "[N, C, H, W]"},
                {.name = "integers",
                 .attributes = {{"kernel_shape", Ints{2, 2}}},
                 .inputs = {{DType::kI64, Shape{1, 1, 4, 4}}},
                 .message = "f32 or bf16"},
                {.name = "window larger than the image",
                 .attributes = {{"kernel_shape", Ints{5, 2}}},
                 .inputs = images<3, 4, 4>(1),
                 .message = "does not fit"},
                {.name = "a window of padding only",
                 .attributes = {{"kernel_shape", Ints{2, 2}}, {"pads", Ints{2, 0, 0, 0}}},
                 .inputs = images<3, 4, 4>(1),
                 .message = "nothing but padding"},
                {.name = "an unknown auto_pad",
                 .attributes = {{"kernel_shape", Ints{2, 2}}, {"auto_pad", std::string("SAME")}},
                 .inputs = images<3, 4, 4>(1),
                 .message = "SAME_UPPER"},
            },
};

}  // namespace phalanx
