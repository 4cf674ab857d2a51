// SPDX-License-Identifier: Apache-2.0
#include "common/region_error.hpp"
#include "reorder/reorder.hpp"

namespace phalanx {
namespace {

/// Image by image, on OpenMP's threads.
void copy_images(ConstTensorView from, TensorView to, Stream& stream) {
  const std::int64_t images = from.shape()[0];
  if (from.numel() == 0) return;
  const auto part = [&](auto& whole, std::int64_t i) {
    auto one = whole;
    one.type.shape = whole.type.shape.with(0, 1);
    one.data = whole.template as<std::byte>() + static_cast<std::size_t>(i) * one.type.size_bytes();
    return one;
  };
  RegionError error;
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < images; ++i)
    error.guard([&] { copy(part(from, i), part(to, i), stream); });
  error.rethrow();
}

}  // namespace

void reorder_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  copy_images(in[0], out[0], ctx.stream);
}
void reorder_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  copy_images(in[2], out[0], ctx.stream);
}

}  // namespace phalanx
