// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/launch.hpp"
#include "op/op.hpp"

namespace phalanx {

/// Copies bytes in the order of the stream; nothing where both are one.
inline void copy_on_device(const OpContext& ctx, const void* from, void* to,
                           std::size_t size_bytes) {
  if (from == to || size_bytes == 0) return;
  BackendStream& stream = backend_stream(ctx.stream);
  stream.backend->copy(static_cast<const std::byte*>(from), static_cast<std::byte*>(to), size_bytes,
                       &stream);
}
/// The kernel of an operator whose output is its input under another shape, for runs in which they do not share memory.
inline void copy_on_device(const OpContext& ctx, ConstTensorView from, TensorView to) {
  copy_on_device(ctx, from.data, to.data, from.type.size_bytes());
}

/// Fills with zeros in the order of the stream.
inline void zero_on_device(const OpContext& ctx, TensorView to) {
  if (to.type.size_bytes() == 0) return;
  BackendStream& stream = backend_stream(ctx.stream);
  stream.backend->fill_zero(to.as<std::byte>(), to.type.size_bytes(), &stream);
}

}  // namespace phalanx
