// SPDX-License-Identifier: Apache-2.0
#include "simt/engine.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <numeric>
#include <thread>

#include "simt/scheduler.hpp"

#if defined(SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace simt {
namespace {

constexpr std::size_t kMaxSharedBytes = 227 << 10;  // of one block, on compute capability 9.0
constexpr auto kAlignment = std::align_val_t{128};

/// A kernel's intrinsics have no argument that could carry the scheduler, and its fibres are worth keeping from launch to
/// launch.
Scheduler& scheduler() {
  static thread_local Scheduler scheduler;
  return scheduler;
}

/// Exactly as large as asked for: AddressSanitizer sees the first byte behind it.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes)
      : bytes_(bytes), data_(::operator new(bytes, kAlignment)) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::operator delete(data_, kAlignment); }
  void* poisoned() { return std::memset(data_, 0xff, bytes_); }

 private:
  std::size_t bytes_;
  void* data_;
};

void check(const Launch& launch) {
  const auto [x, y, z] = launch.block;
  const Index grid = launch.grid;
  const auto text = [](Index i) {
    return std::to_string(i.x) + " x " + std::to_string(i.y) + " x " + std::to_string(i.z);
  };
  if (here) throw Error(launch.where + ": a launch by a kernel");
  if (x == 0 || y == 0 || z == 0 || x > 1024 || y > 1024 || z > 64 ||
      std::size_t{x} * y * z > 1024) {
    throw Error(launch.where + ": a block of " + text(launch.block) +
                " threads; 1 to 1024 are possible, z up to 64");
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 ||
      grid.z > 65535) {
    throw Error(launch.where + ": a grid of " + text(grid) +
                " blocks; 1 to 2147483647 x 65535 x 65535 are possible");
  }
  if (launch.shared_bytes > kMaxSharedBytes) {
    throw Error(launch.where + ": " + std::to_string(launch.shared_bytes) +
                " bytes of dynamic shared memory; at most " + std::to_string(kMaxSharedBytes) +
                " are possible");
  }
}

/// In the order of the schedule.
std::vector<std::uint64_t> blocks_of(const Launch& launch, const Schedule& schedule) {
  std::vector<std::uint64_t> blocks(std::uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z);
  std::iota(blocks.begin(), blocks.end(), std::uint64_t{0});
  if (schedule.order == Order::kDescending) std::reverse(blocks.begin(), blocks.end());
  if (schedule.order == Order::kRandom) {
    Draws draws(schedule.seed);
    for (std::size_t left = blocks.size(); left > 1; --left)
      std::swap(blocks[left - 1], blocks[draws.next() % left]);
  }
  return blocks;
}

}  // namespace

void run(const Launch& launch) {
  check(launch);
  const Schedule schedule = Schedule::from_environment();
  const std::vector<std::uint64_t> blocks = blocks_of(launch, schedule);
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  std::exception_ptr thrown;
  const auto work = [&](unsigned worker) {
    try {
      SharedMemory shared(launch.shared_bytes);
      // Dealt out in turn, not taken: races between neighbours are there to be seen, whoever is the first to run.
      for (std::size_t i = worker; i < blocks.size() && !stopped; i += schedule.workers) {
        const std::uint64_t x = blocks[i] % launch.grid.x, rest = blocks[i] / launch.grid.x;
        const Index block{static_cast<unsigned>(x), static_cast<unsigned>(rest % launch.grid.y),
                          static_cast<unsigned>(rest / launch.grid.y)};
        scheduler().run_block(launch, block, schedule, shared.poisoned());
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!thrown) thrown = std::current_exception();
      stopped = true;
    }
  };
  if (schedule.workers == 1) {
    work(0);
  } else {
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < schedule.workers; ++i) workers.emplace_back(work, i);
  }
  if (thrown) std::rethrow_exception(thrown);
}

unsigned barrier(const char* name, bool vote, Site site) {
  Scheduler& own = scheduler();
  Thread& thread = own.current();
  thread.name = name;
  thread.site = site;
  thread.vote = vote;
  own.wait(State::kAtBarrier);
  return thread.votes;
}

void warp(const WarpCall& call, void* operand, Site site) {
  Scheduler& own = scheduler();
  Thread& thread = own.current();
  thread.name = call.name;
  thread.site = site;
  thread.call = call;
  thread.operand = operand;
  own.wait(State::kAtWarp);
}

unsigned live_lanes() { return scheduler().live_lanes(scheduler().current().warp()); }

void yield() { scheduler().wait(State::kReady); }

void maybe_yield() {
  if (scheduler().order() == Order::kRandom && scheduler().draws().below(4) == 0) yield();
}

// A fence makes the next atomics of its thread release, and the last one acquire.
void fence() {
  Thread& thread = scheduler().current();
  thread.fenced = true;
#if defined(SIMT_TSAN)
  if (thread.last_atomic) __tsan_acquire(const_cast<void*>(thread.last_atomic));
#endif
  maybe_yield();
}

void before_atomic([[maybe_unused]] const void* address) {
  maybe_yield();
#if defined(SIMT_TSAN)
  if (scheduler().current().fenced) __tsan_release(const_cast<void*>(address));
#endif
}

void after_atomic(const void* address) { scheduler().current().last_atomic = address; }

void* dynamic_shared() { return scheduler().shared(); }

void fail(const std::string& what, Site site) {
  const auto text = [](Index i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
  };
  const Place& place = *here;
  throw Error(std::string(site.file) + ":" + std::to_string(site.line) + ": block " +
              text(place.block) + ", thread " + text(place.thread) + ": " + what);
}

AsyncCopies& async_copies() { return scheduler().current().copies; }

bool copies_at_once() {
  switch (scheduler().order()) {
    case Order::kAscending: return false;
    case Order::kDescending: return true;
    case Order::kRandom: break;
  }
  return scheduler().draws().below(2) == 0;
}

}  // namespace simt
