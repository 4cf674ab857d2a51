// SPDX-License-Identifier: Apache-2.0
/// The way from an operator to its CUDA kernel.
#pragma once

#include <utility>

#include "device/backend.hpp"
#include "device/stream.hpp"
#include "simt/simt.hpp"

namespace phalanx {

inline BackendStream& backend_stream(const Stream& stream) noexcept {
  return *static_cast<BackendStream*>(stream.handle());
}
inline cudaStream_t cuda_stream(const BackendStream& stream) noexcept {
  return static_cast<cudaStream_t>(stream.queue);
}

/// Enqueues a kernel. An empty grid enqueues nothing. `name` is a literal, <op>_<direction>[_<how>]; errors tell it.
/// Throws    DeviceError if the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, BackendStream& stream, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  stream.note(name);
  try {
    simt::launch(kernel, simt::Grid(grid), block, shared_bytes, cuda_stream(stream),
                 std::forward<Arguments>(arguments)...);
  } catch (const simt::Error& e) {
    throw DeviceError(std::string(name) + " was refused: " + e.what());
  }
}
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, const Stream& stream, Arguments&&... arguments) {
  launch(name, kernel, grid, block, shared_bytes, backend_stream(stream),
         std::forward<Arguments>(arguments)...);
}

/// Blocks that cover `count` things, `per_block` each.
inline unsigned blocks_for(std::int64_t count, std::int64_t per_block) noexcept {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

}  // namespace phalanx
