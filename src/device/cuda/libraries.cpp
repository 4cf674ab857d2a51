// SPDX-License-Identifier: Apache-2.0
#include "device/cuda/libraries.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <fmt/format.h>

#include "core/error.hpp"

namespace phalanx {

CudaLibraries::CudaLibraries() = default;

CudaLibraries::~CudaLibraries() {
  for (const auto& [index, handle] : blas_lt_) (void)cublasLtDestroy(handle);
  for (const auto& [stream, handle] : cudnn_) (void)cudnnDestroy(handle);
}

cublasLtContext* CudaLibraries::blas_lt(int index) {
  const std::lock_guard lock(mutex_);
  cublasLtContext*& handle = blas_lt_[index];
  (void)cudaSetDevice(index);  // calls with the handle are for the thread's present device
  if (handle != nullptr) return handle;
  const cublasStatus_t status = cublasLtCreate(&handle);
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(fmt::format("cublasLtCreate failed: {}", cublasGetStatusString(status)));
  return handle;
}

cudnnContext* CudaLibraries::cudnn(const BackendStream& stream) {
  const std::lock_guard lock(mutex_);
  cudnnContext*& handle = cudnn_[&stream];
  if (handle != nullptr) return handle;
  (void)cudaSetDevice(stream.index);
  cudnnStatus_t status = cudnnCreate(&handle);
  if (status == CUDNN_STATUS_SUCCESS)
    status = cudnnSetStream(handle, static_cast<cudaStream_t>(stream.queue));
  if (status != CUDNN_STATUS_SUCCESS)
    throw DeviceError(fmt::format("cudnnCreate failed: {}", cudnnGetErrorString(status)));
  return handle;
}

void CudaLibraries::forget(const BackendStream& stream) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = cudnn_.find(&stream);
  if (found == cudnn_.end()) return;
  (void)cudnnDestroy(found->second);
  cudnn_.erase(found);
}

}  // namespace phalanx
