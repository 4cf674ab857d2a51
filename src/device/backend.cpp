// SPDX-License-Identifier: Apache-2.0
#include "device/backend.hpp"

#include <dlfcn.h>

#include "core/error.hpp"

namespace phalanx {

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

LoadedBackend::~LoadedBackend() {
  backend_.reset();
  dlclose(library_);
}

}  // namespace phalanx
