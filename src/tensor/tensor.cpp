// SPDX-License-Identifier: Apache-2.0
#include "tensor/tensor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "device/backend.hpp"

namespace phalanx {
namespace {

template <class From, class To>
void convert(const From* from, To* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(static_cast<float>(from[i]));
}

/// Where a channel starts in one sample of an image batch; its pixels follow at a distance of `block`.
std::int64_t channel_offset(std::int64_t c, std::int64_t block, std::int64_t pixels) {
  return c / block * block * pixels + c % block;
}

template <class From, class To>
void convert_image(const From* from, std::int64_t from_block, To* to, std::int64_t to_block,
                   const Shape& shape) {
  const std::int64_t channels = shape[1], pixels = shape[2] * shape[3];
  // Tiles of 16 channels: all pixels of one lie in a few cache lines on the blocked side and in 16 streams on the plain one.
  constexpr std::int64_t kTile = 16;
  std::array<std::int64_t, kTile> f_at{}, t_at{};
  for (std::int64_t c0 = 0; c0 < channels; c0 += kTile) {
    const std::int64_t tile = std::min(kTile, channels - c0);
    for (std::int64_t k = 0; k < tile; ++k) {
      f_at[k] = channel_offset(c0 + k, from_block, pixels);
      t_at[k] = channel_offset(c0 + k, to_block, pixels);
    }
    const auto move = [&](const From* f, To* t, std::int64_t count) {
      for (std::int64_t p = 0; p < pixels; ++p)
        for (std::int64_t k = 0; k < count; ++k)
          t[t_at[k] + p * to_block] =
              static_cast<To>(static_cast<float>(f[f_at[k] + p * from_block]));
    };
    for (std::int64_t n = 0; n < shape[0]; ++n) {
      const From* f = from + n * channels * pixels;
      To* t = to + n * channels * pixels;
      if (tile == kTile)
        move(f, t, kTile);  // the compiler knows the trip count
      else
        move(f, t, tile);
    }
  }
}

}  // namespace

void TensorType::set_channel_block(std::int64_t block) {
  if (block != 1) {
    require(shape.rank() == 4, "only a tensor of rank 4 has a channel block");
    require(block > 0 && shape[1] % block == 0,
            "a channel block must divide the number of channels");
    if (shape[1] == 1 || shape[2] * shape[3] == 1) block = 1;
  }
  channel_block = block;
}

std::string TensorType::str() const {
  return fmt::format("{} {}{}", name(dtype), shape.str(),
                     channel_block == 1 ? "" : fmt::format("/{}", channel_block));
}

namespace {

void copy_on_device(const ConstTensorView& from, const TensorView& to, DeviceBackend& backend,
                    Stream& stream) {
  if (from.numel() == 0) return;
  if (from.type == to.type) {
    backend.copy(from.as<std::byte>(), to.as<std::byte>(), from.type.size_bytes(), stream.handle());
    return;
  }
  require<Unsupported>(is_float(from.type.dtype) && is_float(to.type.dtype) &&
                           from.type.channel_block == to.type.channel_block,
                       "copy on a GPU converts f32 and bf16 of equal channel blocks");
  backend.convert(from.type.dtype, from.data, to.type.dtype, to.data, from.numel(),
                  stream.handle());
}

}  // namespace

void copy(ConstTensorView from, TensorView to, Stream& stream) {
  require(from.shape() == to.shape(), "copy: the shapes differ");
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr) {
    copy_on_device(from, to, *backend, stream);
    return;
  }
  if (from.type == to.type) {
    if (from.numel() > 0) std::memcpy(to.data, from.data, from.type.size_bytes());
    return;
  }
  with_float_type(from.type.dtype, [&]<class From>() {
    with_float_type(to.type.dtype, [&]<class To>() {
      if (from.type.channel_block == to.type.channel_block)
        convert(from.as<From>(), to.as<To>(), from.numel());
      else
        convert_image(from.as<From>(), from.type.channel_block, to.as<To>(), to.type.channel_block,
                      from.shape());
    });
  });
}

void fill_zero(TensorView to, Stream& stream) {
  if (to.numel() == 0) return;
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr)
    backend->fill_zero(to.as<std::byte>(), to.type.size_bytes(), stream.handle());
  else
    std::memset(to.data, 0, to.type.size_bytes());
}

void scale(TensorView values, float factor, Stream& stream) {
  require(values.type.dtype == DType::kF32, "scale takes f32");
  if (DeviceBackend* backend = stream.device().backend; backend != nullptr) {
    backend->scale(values.as<float>(), factor, values.numel(), stream.handle());
    return;
  }
  for (std::int64_t i = 0; i < values.numel(); ++i) values.as<float>()[i] *= factor;
}

namespace {

void require_equal(const TensorType& from, const TensorType& to) {
  if (!(from == to))
    throw InvalidArgument("a copy between host and device of " + from.str() + " to " + to.str());
}

}  // namespace

void upload(ConstTensorView host, TensorView to, Stream& stream) {
  require_equal(host.type, to.type);
  upload({host.as<std::byte>(), host.type.size_bytes()}, to.as<std::byte>(), stream);
}

void download(ConstTensorView from, TensorView host, Stream& stream) {
  require_equal(from.type, host.type);
  download(from.as<std::byte>(), {host.as<std::byte>(), host.type.size_bytes()}, stream);
}

TensorView on_host(TensorView values, HostTensor& space, Stream& stream) {
  if (stream.device().backend == nullptr) return values;
  if (space.type().size_bytes() < values.type.size_bytes())
    space = HostTensor(values.type, stream.device());
  const TensorView host{space.view().data, values.type};
  download(values, host, stream);
  return host;
}

}  // namespace phalanx
