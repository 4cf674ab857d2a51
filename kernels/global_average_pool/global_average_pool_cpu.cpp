// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "common/channels.hpp"
#include "common/image.hpp"
#include "global_average_pool/global_average_pool.hpp"

namespace phalanx {
namespace {

struct ForwardState final : OpState {
  std::size_t sums_bytes = 0;
  std::size_t workspace_bytes() const noexcept override { return sums_bytes; }
};

}  // namespace

std::unique_ptr<OpState> global_average_pool_prepare_forward_cpu(const PrepareArguments& given) {
  const auto& [attributes, in, out, in_present, out_present, device] = given;
  auto state = std::make_unique<ForwardState>();
  state->sums_bytes = static_cast<std::size_t>(in[0].channel_block) * sizeof(double);
  return state;
}

void global_average_pool_forward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  if (in[0].numel() == 0) return;
  const ImageSizes size = image_sizes(in[0].type, in[0].type);
  auto* sums = reinterpret_cast<double*>(ctx.workspace.data());
  const double scale = 1.0 / static_cast<double>(size.pixels());
  with_float_type(in[0].type.dtype, [&]<class T>() {
    for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
      const T* x = in[0].as<T>() + plane * size.plane_size();
      T* y = out[0].as<T>() + plane * size.block;
      std::fill_n(sums, size.block, 0.0);
      add_channel_sums<1>(size.pixels(), size.block, sums, [x](std::int64_t i, std::int64_t) {
        return std::array<float, 1>{static_cast<float>(x[i])};
      });
      for (std::int64_t b = 0; b < size.block; ++b) y[b] = T(static_cast<float>(sums[b] * scale));
    }
  });
}

void global_average_pool_backward_cpu(OpContext&, Inputs in, Outputs out) {
  const ConstTensorView& dy = in[2];  // in: x, y, dy
  if (!out[0] || out[0].numel() == 0) return;
  const ImageSizes size = image_sizes(out[0].type, out[0].type);
  const float scale = 1.0f / static_cast<float>(size.pixels());
  with_float_type(dy.type.dtype, [&]<class T>() {
    for (std::int64_t plane = 0; plane < size.planes(); ++plane) {
      const T* __restrict g = dy.as<T>() + plane * size.block;
      T* __restrict dx = out[0].as<T>() + plane * size.plane_size();
      for_each_in_slab(size.pixels(), size.block, [=](std::int64_t i, std::int64_t b) {
        dx[i] = T(static_cast<float>(g[b]) * scale);
      });
    }
  });
}

}  // namespace phalanx
