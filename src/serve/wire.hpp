// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

namespace phalanx {

/// What front end and ranks of one server tell each other, over a stream socket: a WireHeader, then `size_bytes` bytes. Both
/// ends are the same program on machines of the same kind, so structs travel as they are. Kinds with a text carry JSON.
///
/// A rank of the front end's host shares its memory (SharedArena) and gets offsets into it; to a rank of another host the
/// rows of a batch follow the message, and its answers come back behind its answer.
enum class WireKind : std::uint32_t {
  kHello =
      1,  ///< rank -> front, text: token, rank, size, host, node, device, pid, and whether kManifest follows
  kManifest,  ///< rank -> front, text: of the model in memory
  kWelcome,  ///< front -> rank, WireWelcome; with the arena's file descriptor if the rank shares it
  kLoad,     ///< front -> rank, text: handle, manifest, folder, max_batch_size
  kLoaded,   ///< rank -> front, text: handle, error (empty: ready), seconds, memory_bytes
  kUnload,   ///< front -> rank, WireUnload. Comes behind the last batch of the model
  kRun,  ///< front -> rank, WireRun, then `parts` times WirePart; elsewhere the rows behind them
  kRan,  ///< rank -> front, WireRan, then an error text; elsewhere the answers behind it
  kShutDown,  ///< front -> rank: end
};

struct WireHeader {
  WireKind kind{};
  std::uint32_t reserved = 0;
  std::uint64_t size_bytes = 0;
};

struct WireWelcome {
  std::uint64_t arena_bytes = 0;  ///< 0: the rank shares no memory with the front end
};

struct WireUnload {
  std::uint64_t handle = 0;
};

struct WireRun {
  std::uint64_t batch = 0;
  std::uint64_t handle = 0;
  std::uint32_t parts = 0;
  std::uint32_t reserved = 0;
};

/// The rows of one request.
struct WirePart {
  std::uint64_t input_offset = 0, output_offset = 0;  ///< in the arena
  std::uint32_t rows = 0;
  std::uint32_t is_u8 = 0;  ///< rows are u8, otherwise f32
};

struct WireRan {
  std::uint64_t batch = 0;
  std::uint64_t input_ns = 0, infer_ns = 0, output_ns = 0;
  std::uint32_t is_error = 0;
  std::uint32_t reserved = 0;
};

/// The longest message of one that has not yet proved who it is.
inline constexpr std::uint64_t kMostHelloBytes = std::uint64_t{64} << 10;
/// The longest message.
inline constexpr std::uint64_t kMostWireBytes = std::uint64_t{1} << 32;

static_assert(std::is_trivially_copyable_v<WireHeader> && sizeof(WireHeader) == 16);
static_assert(std::is_trivially_copyable_v<WirePart> && sizeof(WirePart) == 24);

/// How a rank finds its front end; set by the front end for the processes that it starts.
inline constexpr const char* kFrontAddressVariable = "PHALANX_FRONT_ADDRESS";
/// What proves that a process is one of them: 64 hexadecimal digits.
inline constexpr const char* kFrontTokenVariable = "PHALANX_FRONT_TOKEN";
/// All that the front end sets for them.
inline constexpr const char* kRankVariables[] = {kFrontAddressVariable, kFrontTokenVariable,
                                                 "OMP_NUM_THREADS", "OMP_WAIT_POLICY",
                                                 "GOMP_SPINCOUNT"};

}  // namespace phalanx
