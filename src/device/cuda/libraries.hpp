// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "device/backend.hpp"

struct cublasLtContext;
struct cudnnContext;

namespace phalanx {

/// "cuBLASLt 13.0.2, cuDNN 9.13.0", as loaded.
std::string library_versions();

/// Handles of the libraries that come with CUDA, made when they are first asked for: opening them takes a second.
/// Thread-safe; a cuDNN handle is for one stream, a cublasLt handle for any.
class CudaLibraries {
 public:
  CudaLibraries();
  CudaLibraries(const CudaLibraries&) = delete;
  CudaLibraries& operator=(const CudaLibraries&) = delete;
  ~CudaLibraries();

  /// Throws    DeviceError.
  cublasLtContext* blas_lt(int index);
  cudnnContext* cudnn(const BackendStream& stream);
  cudnnContext* cudnn_for_plans(int index);           ///< of any stream of the device; runs nothing
  void forget(const BackendStream& stream) noexcept;  ///< that ends

 private:
  std::mutex mutex_;
  std::map<int, cublasLtContext*> blas_lt_;
  std::map<int, cudnnContext*> cudnn_for_plans_;
  std::map<const BackendStream*, cudnnContext*> cudnn_;
};

/// Of the backend for CUDA.
CudaLibraries& cuda_libraries(DeviceBackend& backend);

}  // namespace phalanx
