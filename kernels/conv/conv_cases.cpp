// SPDX-License-Identifier: Apache-2.0
#include "common/cases.hpp"
#include "conv/conv.hpp"

namespace phalanx {
namespace {

void reference(const Attributes& attributes, Types types, OpCases::Vectors in,
               OpCases::Vectors out) {
  const ConvSizes s = conv_sizes(attributes, types[0].shape, types[1].shape);
  const WindowAxis &h = s.window.h, &w = s.window.w;
  const std::int64_t c_of_group = s.c / s.group, o_of_group = s.o / s.group;
  std::size_t at = 0;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t o = 0; o < s.o; ++o)
      for (std::int64_t p = 0; p < h.out; ++p)
        for (std::int64_t q = 0; q < w.out; ++q) {
          double sum = in.size() == 3 && !in[2].empty() ? in[2][o] : 0;
          for (std::int64_t i = 0; i < c_of_group; ++i)
            for (std::int64_t r = 0; r < h.kernel; ++r)
              for (std::int64_t t = 0; t < w.kernel; ++t) {
                const std::int64_t y = p * h.stride - h.pad_begin + r * h.dilation;
                const std::int64_t x = q * w.stride - w.pad_begin + t * w.dilation;
                if (y < 0 || y >= h.in || x < 0 || x >= w.in) continue;
                const std::int64_t c = o / o_of_group * c_of_group + i;
                sum += in[0][((n * s.c + c) * h.in + y) * w.in + x] *
                       in[1][((o * c_of_group + i) * h.kernel + r) * w.kernel + t];
              }
          out[0][at++] = s.relu && sum < 0 ? 0 : sum;
        }
}

TensorType f32(std::initializer_list<std::int64_t> sizes) { return {DType::kF32, Shape(sizes)}; }
std::vector<TensorType> types(const TensorType& x, const TensorType& w) {
  return {x, w, f32({w.shape[0]})};
}

const std::vector<std::int64_t> kSizes{0, 1, 3};

OpCases::Case benchmark(std::string_view name, std::vector<TensorType> (*inputs)(std::int64_t)) {
  return {.name = name,
          .attributes = {{"pads", Ints{1, 1, 1, 1}}},
          .inputs = inputs,
          .benchmark_n = 32,
          .tolerance_f32 = 1e-5,
          .sizes = {1}};
}

}  // namespace

extern const OpCases conv_cases;
const OpCases conv_cases =
    {
        .op = &conv_op,
        .reference = reference,
        .cases =
            {
                {.name = "first layer, three channels",
                 .attributes = {{"pads", Ints{1, 1, 1, 1}}, {"kernel_shape", Ints{3, 3}}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 3, 8, 7}), f32({16, 3, 3, 3}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "blocks of 16 on both sides",
                 .attributes = {{"pads", Ints{1, 1, 1, 1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 32, 5, 6}), f32({16, 32, 3, 3}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "relu behind 3 x 3 over 32 channels",
                 .attributes = {{"pads", Ints{1, 1, 1, 1}}, {"activation", std::string("relu")}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 32, 8, 7}), f32({48, 32, 3, 3}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = {0, 1}},
                {.name = "relu behind odd channels, stride 2",
                 .attributes = {{"strides", Ints{2, 2}}, {"activation", std::string("relu")}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 6, 9, 10}), f32({10, 6, 3, 2}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "relu behind a depthwise window",
                 .attributes = {{"group", std::int64_t{16}}, {"activation", std::string("relu")}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 16, 6, 5}), f32({16, 1, 3, 3}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "odd channels, stride 2, uneven padding",
                 .attributes = {{"pads", Ints{0, 1, 2, 1}}, {"strides", Ints{2, 3}}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 6, 9, 10}), f32({10, 6, 3, 2}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "two groups, dilated",
                 .attributes = {{"group", std::int64_t{2}}, {"dilations", Ints{2, 1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 8, 7, 4}), f32({6, 4, 3, 2}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                {.name = "depthwise, no bias",
                 .attributes = {{"group", std::int64_t{16}},
                                {"auto_pad", std::string("SAME_UPPER")}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 16, 6, 5}), f32({16, 1, 3, 3}));
                     },
                 .tolerance_f32 = 1e-5,
                 .absent = 0b100,
                 .sizes = kSizes},
                {.name = "1 x 1 window, 1 x 1 image",
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 16, 1, 1}), f32({32, 16, 1, 1}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = {0, 1, 33}},
                {.name = "even window, SAME_LOWER, one channel",
                 .attributes = {{"auto_pad", std::string("SAME_LOWER")}, {"strides", Ints{2, 1}}},
                 .inputs =
                     [](std::int64_t n) {
                       return types(f32({n, 1, 7, 6}), f32({5, 1, 4, 2}));
                     },
                 .tolerance_f32 = 1e-5,
                 .sizes = kSizes},
                benchmark("3 to 64 channels, 32 x 32",
                          [](std::int64_t n) {
                            return types(f32({n, 3, 32, 32}), f32({64, 3, 3, 3}));
                          }),
                benchmark("64 to 128 channels, 16 x 16",
                          [](std::int64_t n) {
                            return types(f32({n, 64, 16, 16}), f32({128, 64, 3, 3}));
                          }),
            },
        .refusals =
            {
                {.name = "channels do not fit",
                 .inputs = {f32({2, 3, 8, 8}), f32({4, 2, 3, 3})},
                 .message = "fits 2 channels"},
                {.name = "a group that does not divide",
                 .attributes = {{"group", std::int64_t{2}}},
                 .inputs = {f32({2, 4, 8, 8}), f32({5, 2, 3, 3})},
                 .message = "group 2 must divide"},
                {.name = "window larger than the image",
                 .inputs = {f32({2, 3, 4, 8}), f32({4, 3, 5, 5})},
                 .message = "does not fit"},
                {.name = "rank 3",
                 .inputs = {f32({2, 3, 4}), f32({4, 3, 1, 1})},
                 .message = "[N, C, H, W]"},
                {.name = "pads beside auto_pad",
                 .attributes = {{"auto_pad", std::string("VALID")}, {"pads", Ints{1, 0, 0, 0}}},
                 .inputs = {f32({2, 3, 8, 8}), f32({4, 3, 3, 3})},
                 .message = "excludes pads"},
                {.name = "a stride of 0",
                 .attributes = {{"strides", Ints{0, 1}}},
                 .inputs = {f32({2, 3, 8, 8}), f32({4, 3, 3, 3})},
                 .message = "strides must be 2 integers"},
                {.name = "bias of another size",
                 .inputs = {f32({2, 3, 8, 8}), f32({4, 3, 3, 3}), f32({3})},
                 .message = "b must be f32 [4]"},
                {.name = "another activation",
                 .attributes = {{"activation", std::string("swish")}},
                 .inputs = {f32({2, 3, 8, 8}), f32({4, 3, 3, 3})},
                 .message = "activation"},
                {.name = "weights in bf16",
                 .inputs = {f32({2, 3, 8, 8}), {DType::kBf16, Shape{4, 3, 3, 3}}},
                 .message = "w must be f32"},
            },
};

}  // namespace phalanx
