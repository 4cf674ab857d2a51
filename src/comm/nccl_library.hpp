// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace phalanx {

/// What this program uses of NCCL's C interface, as nccl.h declares it: so that it builds without the header. Every version
/// since 2.14 takes it; tests/unit/comm_nccl_header_test.cpp compares it with the header where there is one.
namespace nccl {

struct Comm;
using Stream = void*;  // cudaStream_t

enum class Result : int { kSuccess = 0, kInProgress = 7 };
enum class Type : int { kInt8 = 0, kInt32 = 2, kInt64 = 4, kFloat32 = 7, kBfloat16 = 9 };
enum class Op : int { kSum = 0, kMax = 2, kMin = 3 };

struct UniqueId {
  char internal[128];
};

/// ncclConfig_t of 2.14, which is how the newer ones begin: they take what is missing as not set.
struct Config {
  std::size_t size = sizeof(Config);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;
};

}  // namespace nccl

/// NCCL's library, opened when a communicator wants it: it has some 200 MB. Never closed again, for it has threads. May be used
/// by several communicators, each on its own thread.
class NcclLibrary {
 public:
  static constexpr const char* kName = "libnccl.so.2";
  static constexpr int kLeastVersion = 21400;

  /// `library`: path, or a name that the dynamic linker finds. Before other threads start: NCCL reads the environment, where
  /// this sets NCCL_NVLS_ENABLE to 0 unless it is set. Sums in NVLink switches differ from call to call.
  /// Throws    Unsupported naming the library and the reason: it cannot be opened, lacks a function, or is too old.
  explicit NcclLibrary(const std::string& library = kName);

  int version() const noexcept { return version_; }
  /// "unhandled system error: Connection refused"
  std::string text(nccl::Result result) const;

  nccl::Result (*get_unique_id)(nccl::UniqueId*) = nullptr;
  nccl::Result (*comm_init_rank_config)(nccl::Comm**, int ranks, nccl::UniqueId, int rank,
                                        nccl::Config*) = nullptr;
  nccl::Result (*comm_get_async_error)(nccl::Comm*, nccl::Result*) = nullptr;
  nccl::Result (*comm_finalize)(nccl::Comm*) = nullptr;
  nccl::Result (*comm_destroy)(nccl::Comm*) = nullptr;
  nccl::Result (*comm_abort)(nccl::Comm*) = nullptr;
  nccl::Result (*group_start)() = nullptr;
  nccl::Result (*group_end)() = nullptr;
  nccl::Result (*all_reduce)(const void* from, void* to, std::size_t count, nccl::Type, nccl::Op,
                             nccl::Comm*, nccl::Stream) = nullptr;
  nccl::Result (*reduce)(const void* from, void* to, std::size_t count, nccl::Type, nccl::Op,
                         int root, nccl::Comm*, nccl::Stream) = nullptr;
  nccl::Result (*reduce_scatter)(const void* from, void* to, std::size_t count_of_each, nccl::Type,
                                 nccl::Op, nccl::Comm*, nccl::Stream) = nullptr;
  nccl::Result (*broadcast)(const void* from, void* to, std::size_t count, nccl::Type, int root,
                            nccl::Comm*, nccl::Stream) = nullptr;
  nccl::Result (*all_gather)(const void* from, void* to, std::size_t count_of_each, nccl::Type,
                             nccl::Comm*, nccl::Stream) = nullptr;

 private:
  const char* (*get_error_string_)(nccl::Result) = nullptr;
  const char* (*get_last_error_)(nccl::Comm*) = nullptr;
  int version_ = 0;
};

}  // namespace phalanx
