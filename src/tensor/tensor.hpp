// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.hpp"
#include "core/shape.hpp"
#include "device/buffer.hpp"

namespace phalanx {

/// Element type, logical shape and memory format of a tensor.
///
/// A tensor of rank 4 is an image batch with the logical shape [N, C, H, W], as in ONNX. In memory it stands as
/// [N, C/B, H, W, B] with B = `channel_block`, which always divides C: B = 1 is NCHW, B = C is NHWC, and B = 16 is what
/// oneDNN's AVX-512 convolutions ask for. Tensors of any other rank are row-major and have B = 1. Where several B give
/// the same bytes (C = 1, or H = W = 1), B is 1, so that equal types mean equal memory.
struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;
  std::int64_t channel_block = 1;

  TensorType() = default;
  TensorType(DType dtype_in, Shape shape_in, std::int64_t block = 1)
      : dtype(dtype_in), shape(shape_in) {
    set_channel_block(block);
  }

  /// Throws    InvalidArgument unless the rank is 4 and the block divides C (1 fits everything).
  void set_channel_block(std::int64_t block);
  std::size_t size_bytes() const noexcept {
    return static_cast<std::size_t>(shape.numel()) * phalanx::size_bytes(dtype);
  }
  /// "f32 [64, 3, 32, 32]", with "/16" behind it for a channel block of 16.
  std::string str() const;
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

/// Borrows a tensor that may be read. A null `data` of a type with elements means "absent": an optional operand that is
/// not given, or a gradient that nobody wants.
struct ConstTensorView {
  const void* data = nullptr;
  TensorType type;

  template <class T>
  const T* as() const noexcept {
    return static_cast<const T*>(data);
  }
  std::int64_t numel() const noexcept { return type.shape.numel(); }
  const Shape& shape() const noexcept { return type.shape; }
  explicit operator bool() const noexcept { return data != nullptr; }
};

/// Borrows a tensor that may be written.
struct TensorView {
  void* data = nullptr;
  TensorType type;

  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data);
  }
  std::int64_t numel() const noexcept { return type.shape.numel(); }
  const Shape& shape() const noexcept { return type.shape; }
  explicit operator bool() const noexcept { return data != nullptr; }
  operator ConstTensorView() const noexcept {
    return {data, type};
  }  // NOLINT: a view that may be written may be read
};

/// Owns the memory of one tensor. Move-only.
class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised memory on the stream's device.
  /// Throws    OutOfMemory that says `what` there was no memory for.
  Tensor(const TensorType& type, Stream& stream, std::string_view what = "a tensor")
      : type_(type), buffer_(type.size_bytes(), stream, what) {}

  const TensorType& type() const noexcept { return type_; }
  TensorView view() const noexcept { return {buffer_.data(), type_}; }
  template <class T>
  std::span<T> as() const noexcept {
    return {reinterpret_cast<T*>(buffer_.data()), static_cast<std::size_t>(type_.shape.numel())};
  }

 private:
  TensorType type_;
  Buffer buffer_;
};

/// Copies `from` to `to`, both on the stream's device: equal shapes; element type and channel block may differ (f32 and bf16
/// convert; on a GPU channel blocks are equal, `reorder` changes them).
/// Throws    InvalidArgument if the shapes differ, Unsupported for another conversion.
void copy(ConstTensorView from, TensorView to, Stream& stream);

void fill_zero(TensorView to, Stream& stream);
/// values[i] *= factor, f32.
void scale(TensorView values, float factor, Stream& stream);

/// Between memory of the host and of the stream's device, equal types; as upload() and download() of buffers. On the CPU
/// these are copies.
void upload(ConstTensorView host, TensorView to, Stream& stream);
void download(ConstTensorView from, TensorView host, Stream& stream);

/// The values of a tensor, once all that was enqueued has run.
template <class T>
std::vector<T> values_of(ConstTensorView from, Stream& stream) {
  std::vector<T> values(static_cast<std::size_t>(from.numel()));
  download(from, {values.data(), from.type}, stream);
  stream.synchronize();
  return values;
}

/// Host memory for what is copied to and from a device: pinned where that is a GPU. Move-only.
class HostTensor {
 public:
  HostTensor() = default;
  HostTensor(const TensorType& type, Device device)
      : type_(type), buffer_(type.size_bytes(), device) {}

  const TensorType& type() const noexcept { return type_; }
  TensorView view() const noexcept { return {buffer_.data(), type_}; }
  template <class T>
  std::span<T> as() const noexcept {
    return {reinterpret_cast<T*>(buffer_.data()), static_cast<std::size_t>(type_.shape.numel())};
  }

 private:
  TensorType type_;
  PinnedBuffer buffer_;
};

/// The values of a tensor in host memory: of the CPU, where they lie; of a GPU, copied into `space`, which is made larger if
/// it has to be. They have arrived when the stream has been waited for.
TensorView on_host(TensorView values, HostTensor& space, Stream& stream);
inline ConstTensorView on_host(ConstTensorView values, HostTensor& space, Stream& stream) {
  return on_host(TensorView{const_cast<void*>(values.data), values.type}, space, stream);
}

}  // namespace phalanx
