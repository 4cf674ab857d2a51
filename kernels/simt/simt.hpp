// SPDX-License-Identifier: Apache-2.0
/// What a CUDA source of Phalanx includes in the place of CUDA's headers; README.md says what such a source may use.
///
/// nvcc compiles the source for the GPU. Any other compiler gets an emulation, in which a block's threads take turns on the
/// CPU: it is for tests, not a backend. Both have
///   simt::launch(kernel, grid, block, shared_bytes, stream, arguments...)   throws simt::Error, which names the call
///   SIMT_DYNAMIC_SHARED(T, name)                                            T* const name: dynamic shared memory
///   SIMT_EMULATED                                                           0 or 1
#pragma once

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <stdexcept>
#include <string>

#define SIMT_EMULATED 0
#define SIMT_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char simt_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(simt_dynamic_shared)

namespace simt {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

#else

#include <string>
#include <tuple>
#include <type_traits>

#include "simt/device.hpp"
#include "simt/engine.hpp"
#include "simt/types.hpp"

#define SIMT_EMULATED 1
#define SIMT_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::simt::dynamic_shared())

namespace simt {

#endif

/// The blocks of a launch, and the place of the launch in the source: the call converts its argument to this.
struct Grid {
  dim3 blocks;
  std::string where;

  Grid(dim3 count, const char* file = __builtin_FILE(), int line = __builtin_LINE(),
       const char* function = __builtin_FUNCTION())
      : blocks(count),
        where(std::string(file) + ":" + std::to_string(line) + ": launch in " + function) {}
  Grid(unsigned count, const char* file = __builtin_FILE(), int line = __builtin_LINE(),
       const char* function = __builtin_FUNCTION())
      : Grid(dim3(count), file, line, function) {}
};

#if defined(__CUDACC__)

inline void check(cudaError_t status, const Grid& grid) {
  if (status != cudaSuccess) throw Error(grid.where + ": " + cudaGetErrorString(status));
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  constexpr std::size_t without_asking = 48 << 10;
  if (shared_bytes > without_asking) {
    const auto bytes = static_cast<int>(shared_bytes);
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), grid);
  }
  kernel<<<grid.blocks, block, shared_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), grid);
}

#else

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, dim3 block, std::size_t shared_bytes,
            cudaStream_t stream, Arguments&&... arguments) {
  const std::tuple<std::decay_t<Parameters>...> values{static_cast<Parameters>(arguments)...};
  const dim3 blocks = grid.blocks;
  enqueue(stream, [=, where = grid.where] {
    run({.grid = {blocks.x, blocks.y, blocks.z},
         .block = {block.x, block.y, block.z},
         .shared_bytes = shared_bytes,
         .where = where,
         .kernel = [&] { std::apply(kernel, values); }});
  });
}

#endif

}  // namespace simt
