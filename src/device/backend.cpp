// SPDX-License-Identifier: Apache-2.0
#include "device/backend.hpp"

#include <fmt/format.h>

#include <dlfcn.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/error.hpp"

namespace phalanx {
namespace {

/// The program's file, whose code this is. /proc/self/exe would name the loader where that was started by name, as in a bundle.
std::filesystem::path program_file() {
  const auto here = reinterpret_cast<std::uintptr_t>(&program_file);
  std::ifstream mappings("/proc/self/maps");
  for (std::string line; std::getline(mappings, line);) {
    std::uintptr_t begin = 0, end = 0;
    int name = 0;  // where it begins in the line
    std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &begin, &end, &name);
    if (name > 0 && begin <= here && here < end) return line.substr(static_cast<std::size_t>(name));
  }
  return {};
}

}  // namespace

std::string BackendStream::last_launches() const {
  std::string text;
  const std::size_t kept = std::min(count_, names_.size());
  for (std::size_t i = count_ - kept; i < count_; ++i)
    text += (text.empty() ? "" : ", ") + std::string(names_[i % names_.size()]);
  return text;
}

std::string out_of_memory_text(std::size_t wanted_bytes, int index, std::size_t free_bytes,
                               std::size_t all_bytes) {
  return fmt::format(
      "no {} bytes of memory on GPU {}: {} of {} bytes are free; a smaller batch-size, or more "
      "accumulate, takes less",
      wanted_bytes, index, free_bytes, all_bytes);
}

LoadedBackend::LoadedBackend(const std::string& library)
    : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (library_ == nullptr)
    throw Unsupported(fmt::format("the backend {} cannot be opened: {}", library, dlerror()));
  const auto make = reinterpret_cast<MakeBackend>(dlsym(library_, kMakeBackend));
  backend_.reset(make == nullptr ? nullptr : make(DeviceBackend::kVersion));
  if (backend_) return;
  dlclose(library_);
  throw Unsupported(
      make == nullptr
          ? fmt::format("{} is no backend: it has no function {}", library, kMakeBackend)
          : fmt::format("the backend {} was built for another version than {}", library,
                        DeviceBackend::kVersion));
}

CudaBackendResult open_cuda_backend() {
  if (const char* other = std::getenv("PHALANX_BACKEND"); other != nullptr && *other != '\0') {
    auto backend = std::make_unique<LoadedBackend>(other);
    if (backend->get().count() > 0) return {std::move(backend), {}};
    return {nullptr, backend->get().why_none()};
  }
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return {nullptr, "this machine has no NVIDIA driver"};
  dlclose(driver);
  std::error_code error;
  const std::filesystem::path program = program_file();
  for (const auto& folder : {program.parent_path(), program.parent_path().parent_path() / "lib"}) {
    const std::filesystem::path library = folder / "libphalanx_cuda.so";
    if (!std::filesystem::exists(library, error)) continue;
    try {
      auto backend = std::make_unique<LoadedBackend>(library.string());
      if (backend->get().count() > 0) return {std::move(backend), {}};
      return {nullptr, backend->get().why_none()};
    } catch (const Unsupported& missing) {  // a node with a driver may lack CUDA's own libraries
      return {nullptr, missing.what()};
    }
  }
  return {nullptr, "this build has no CUDA backend"};
}

LoadedBackend::~LoadedBackend() {
  backend_.reset();
  dlclose(library_);
}

}  // namespace phalanx
