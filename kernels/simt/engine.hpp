// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

/// What a kernel and its launch ask of the emulation. Kernel sources see it through simt/simt.hpp only.
namespace simt {

/// A kernel or a launch breaks a rule of CUDA. The text names file and line, block and thread.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Of a thread, block or grid; the type of threadIdx, blockIdx, blockDim and gridDim.
struct Index {
  unsigned x = 1, y = 1, z = 1;
};

/// What a thread knows of itself.
struct Place {
  Index thread, block, block_size, grid_size;
};

/// The place of the CUDA thread that runs on this OS thread; null outside of kernels.
inline constinit thread_local const Place* here = nullptr;

/// A place in the source: as the default of an argument, that of the call. (clang 14 has no std::source_location.)
struct Site {
  const char* file = "";
  unsigned line = 0;

  static constexpr Site current(const char* file = __builtin_FILE(),
                                unsigned line = __builtin_LINE()) {
    return {file, line};
  }
};

/// The lanes that take part in a warp intrinsic, at the moment when the last of them has arrived. What each handed in is
/// an operand on its own stack.
struct Lanes {
  void* const* operands;  // by lane
  unsigned active;

  template <class Operand>
  Operand& at(unsigned lane) const {
    return *static_cast<Operand*>(operands[lane]);
  }
  bool has(unsigned lane) const { return lane < 32 && (active >> lane & 1) != 0; }
  [[noreturn]] static void refuse(unsigned lane, const std::string& why);
};

/// Computes results for all lanes from their operands, once for a warp.
using Combine = void (*)(const Lanes&);

enum class Convergence : std::uint8_t {
  kMask,     // the lanes of a mask take part
  kAligned,  // all 32 lanes do, at the same place in the source
};

struct WarpCall {
  const char* name = "";
  unsigned mask = ~0u;
  Combine combine = nullptr;  // null: lanes only wait for each other, and memory is ordered
  Convergence convergence = Convergence::kMask;
  bool orders_memory = false;
};

/// Waits for all threads of the block; how many of them handed in true.
unsigned barrier(const char* name, bool vote, Site site);

/// Waits for the lanes of the call; then `operand` holds what `call.combine` left there.
void warp(const WarpCall& call, void* operand, Site site);

/// Lanes of this warp that exist and have not returned.
unsigned live_lanes();

/// Lets other threads run: where a thread may be waiting for them, and now and then in random order.
void yield();
void maybe_yield();

/// Memory fences, as ThreadSanitizer sees them: they order what atomics on an address, before and after them, connect.
void fence();
void before_atomic(const void* address);
void after_atomic(const void* address);

/// Dynamic shared memory of the block, 0xff in every byte when the block starts.
void* dynamic_shared();

/// Ends the kernel with an Error that names this thread.
[[noreturn]] void fail(const std::string& what, Site site = Site::current());

/// cp.async: copies of a thread that it has not waited for.
struct AsyncCopies {
  struct Copy {
    void* to;
    const void* from;
    unsigned bytes, valid;  // what lies behind `valid` becomes 0
    unsigned group;
  };
  std::vector<Copy> waiting;
  unsigned open_group = 0;
};
AsyncCopies& async_copies();
/// Whether a copy takes place when it is issued (else, when it is waited for). Descending order: yes, random order: either.
bool copies_at_once();

struct Launch {
  Index grid, block;
  std::size_t shared_bytes = 0;
  std::string where;
  std::function<void()> kernel;
};

/// Work in the order in which it was added, done when its owner says so: what a stream is to a GPU.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual void add(std::function<void()> work) = 0;
};
/// On the queue that `stream`, a cudaStream_t, stands for; null: at once.
inline void enqueue(void* stream, std::function<void()> work) {
  if (stream == nullptr)
    work();
  else
    static_cast<Queue*>(stream)->add(std::move(work));
}

/// Runs every thread of every block. Environment:
///   SIMT_ORDER    ascending (the default), descending or random: in which threads, lanes and blocks take turns
///   SIMT_SEED     of the random order, 1
///   SIMT_WORKERS  OS threads that run blocks, 1. Always 1 with AddressSanitizer, which sees no overruns of thread_locals.
/// Throws Error, and what a thread of the kernel throws.
void run(const Launch& launch);

}  // namespace simt
