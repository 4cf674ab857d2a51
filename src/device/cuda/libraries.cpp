// SPDX-License-Identifier: Apache-2.0
#include "device/cuda/libraries.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <fmt/format.h>

#include <string_view>

#include "core/error.hpp"

namespace phalanx {
namespace {

void expect(cudnnStatus_t status, std::string_view call) {
  if (status != CUDNN_STATUS_SUCCESS)
    throw DeviceError(fmt::format("{} failed: {}", call, cudnnGetErrorString(status)));
}

/// Makes a handle on the device, unless there is one.
cudnnHandle_t made_on(int index, cudnnHandle_t& handle) {
  if (handle != nullptr) return handle;
  (void)cudaSetDevice(index);
  expect(cudnnCreate(&handle), "cudnnCreate");
  return handle;
}

/// 91300 of cuDNN 9.13.0, 130002 of cuBLASLt 13.0.2.
std::string version_text(std::size_t version, std::size_t major, std::size_t minor) {
  return fmt::format("{}.{}.{}", version / major, version % major / minor, version % minor);
}

}  // namespace

std::string library_versions() {
  const std::size_t blas = cublasLtGetVersion(), dnn = cudnnGetVersion();
  return fmt::format("cuBLASLt {}, cuDNN {}", version_text(blas, 10000, 100),
                     version_text(dnn, 10000, 100));
}

CudaLibraries::CudaLibraries() = default;

CudaLibraries::~CudaLibraries() {
  for (const auto& [index, handle] : blas_lt_) (void)cublasLtDestroy(handle);
  for (const auto& [stream, handle] : cudnn_) (void)cudnnDestroy(handle);
  for (const auto& [index, handle] : cudnn_for_plans_) (void)cudnnDestroy(handle);
}

cublasLtContext* CudaLibraries::blas_lt(int index) {
  const std::lock_guard lock(mutex_);
  cublasLtContext*& handle = blas_lt_[index];
  (void)cudaSetDevice(index);  // calls with the handle are for the thread's present device
  if (handle != nullptr) return handle;
  const cublasStatus_t status = cublasLtCreate(&handle);
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(fmt::format("cublasLtCreate failed: {}", cublasLtGetStatusString(status)));
  return handle;
}

cudnnContext* CudaLibraries::cudnn(const BackendStream& stream) {
  const std::lock_guard lock(mutex_);
  cudnnContext*& handle = cudnn_[&stream];
  if (handle != nullptr) return handle;
  expect(cudnnSetStream(made_on(stream.index, handle), static_cast<cudaStream_t>(stream.queue)),
         "cudnnSetStream");
  return handle;
}

cudnnContext* CudaLibraries::cudnn_for_plans(int index) {
  const std::lock_guard lock(mutex_);
  return made_on(index, cudnn_for_plans_[index]);
}

void CudaLibraries::forget(const BackendStream& stream) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = cudnn_.find(&stream);
  if (found == cudnn_.end()) return;
  (void)cudnnDestroy(found->second);
  cudnn_.erase(found);
}

}  // namespace phalanx
