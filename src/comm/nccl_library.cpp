// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl_library.hpp"

#include <fmt/format.h>

#include <dlfcn.h>

#include <cstdlib>

#include "core/error.hpp"

namespace phalanx {
namespace {

template <class Function>
void find(void* library, const std::string& path, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr)
    throw Unsupported(
        fmt::format("{} is no NCCL of version 2.14 or later: it has no function {}", path, name));
}

}  // namespace

NcclLibrary::NcclLibrary(const std::string& library) {
  setenv("NCCL_NVLS_ENABLE", "0", 0);
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) throw Unsupported(fmt::format("NCCL cannot be opened: {}", dlerror()));
  nccl::Result (*get_version)(int*) = nullptr;
  const auto get = [&](const char* name, auto& function) { find(handle, library, name, function); };
  get("ncclGetVersion", get_version);
  get("ncclGetErrorString", get_error_string_);
  get("ncclGetLastError", get_last_error_);
  get("ncclGetUniqueId", get_unique_id);
  get("ncclCommInitRankConfig", comm_init_rank_config);
  get("ncclCommGetAsyncError", comm_get_async_error);
  get("ncclCommFinalize", comm_finalize);
  get("ncclCommDestroy", comm_destroy);
  get("ncclCommAbort", comm_abort);
  get("ncclGroupStart", group_start);
  get("ncclGroupEnd", group_end);
  get("ncclAllReduce", all_reduce);
  get("ncclReduce", reduce);
  get("ncclReduceScatter", reduce_scatter);
  get("ncclBroadcast", broadcast);
  get("ncclAllGather", all_gather);
  if (get_version(&version_) != nccl::Result::kSuccess || version_ < kLeastVersion)
    throw Unsupported(
        fmt::format("{} is NCCL of version {}: 2.14 is needed at least", library, version_));
}

std::string NcclLibrary::text(nccl::Result result) const {
  std::string text = get_error_string_(result);
  const char* last = get_last_error_(nullptr);  // it asks for a communicator and does not use it
  if (last != nullptr && *last != '\0') text += fmt::format(": {}", last);
  return text;
}

}  // namespace phalanx
