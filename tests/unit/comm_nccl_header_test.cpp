// SPDX-License-Identifier: Apache-2.0
// What src/comm declares of NCCL, beside what its header says, and beside the library itself where it is.
#include "comm/nccl_library.hpp"

#include <gtest/gtest.h>
#include <nccl.h>

#include <cstddef>
#include <memory>
#include <type_traits>

#include "core/error.hpp"

namespace phalanx {
namespace {

template <auto ours, auto theirs>
constexpr bool is_same = static_cast<int>(ours) == static_cast<int>(theirs);

static_assert(is_same<nccl::Result::kSuccess, ncclSuccess>);
static_assert(is_same<nccl::Result::kInProgress, ncclInProgress>);
static_assert(is_same<nccl::Type::kInt8, ncclInt8>);
static_assert(is_same<nccl::Type::kInt32, ncclInt32>);
static_assert(is_same<nccl::Type::kInt64, ncclInt64>);
static_assert(is_same<nccl::Type::kFloat32, ncclFloat32>);
static_assert(is_same<nccl::Type::kBfloat16, ncclBfloat16>);
static_assert(is_same<nccl::Op::kSum, ncclSum>);
static_assert(is_same<nccl::Op::kMax, ncclMax>);
static_assert(is_same<nccl::Op::kMin, ncclMin>);
static_assert(sizeof(nccl::Result) == sizeof(ncclResult_t));
static_assert(sizeof(nccl::Type) == sizeof(ncclDataType_t));
static_assert(sizeof(nccl::Op) == sizeof(ncclRedOp_t));
static_assert(sizeof(nccl::UniqueId) == sizeof(ncclUniqueId));
static_assert(offsetof(nccl::Config, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(nccl::Config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(nccl::Config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(nccl::Config, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(sizeof(nccl::Config) <= sizeof(ncclConfig_t));

/// Whether a function of the header takes as many arguments as the pointer of ours, of types of the same size and kind.
template <class Ours, class Theirs>
constexpr bool passes_as =
    sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> ==
                                          std::is_pointer_v<Theirs>&& std::is_class_v<Ours> ==
                                          std::is_class_v<Theirs>;
template <class R, class... Ours, class S, class... Theirs>
constexpr bool is_called_as(R (*NcclLibrary::*)(Ours...), S (*)(Theirs...)) {
  if constexpr (sizeof...(Ours) == sizeof...(Theirs))
    return passes_as<R, S> && (passes_as<Ours, Theirs> && ...);
  else
    return false;
}

static_assert(is_called_as(&NcclLibrary::get_unique_id, ncclGetUniqueId));
static_assert(is_called_as(&NcclLibrary::comm_init_rank_config, ncclCommInitRankConfig));
static_assert(is_called_as(&NcclLibrary::comm_get_async_error, ncclCommGetAsyncError));
static_assert(is_called_as(&NcclLibrary::comm_finalize, ncclCommFinalize));
static_assert(is_called_as(&NcclLibrary::comm_destroy, ncclCommDestroy));
static_assert(is_called_as(&NcclLibrary::comm_abort, ncclCommAbort));
static_assert(is_called_as(&NcclLibrary::group_start, ncclGroupStart));
static_assert(is_called_as(&NcclLibrary::group_end, ncclGroupEnd));
static_assert(is_called_as(&NcclLibrary::all_reduce, ncclAllReduce));
static_assert(is_called_as(&NcclLibrary::reduce, ncclReduce));
static_assert(is_called_as(&NcclLibrary::reduce_scatter, ncclReduceScatter));
static_assert(is_called_as(&NcclLibrary::broadcast, ncclBroadcast));
static_assert(is_called_as(&NcclLibrary::all_gather, ncclAllGather));

TEST(NcclHeader, DescribesTheLibraryOfThisMachine) {
  std::unique_ptr<NcclLibrary> library;
  try {
    library = std::make_unique<NcclLibrary>();
  } catch (const Unsupported& e) {
    GTEST_SKIP() << e.what();
  }
  EXPECT_GE(library->version(), NcclLibrary::kLeastVersion);
  EXPECT_EQ(library->text(nccl::Result::kSuccess).substr(0, 8), "no error");
}

}  // namespace
}  // namespace phalanx
