// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "simt/engine.hpp"
#include "simt/fiber.hpp"

namespace simt {

enum class Order : std::uint8_t { kAscending, kDescending, kRandom };

/// How threads and blocks take turns; see run().
struct Schedule {
  Order order = Order::kAscending;
  std::uint64_t seed = 1;
  unsigned workers = 1;

  static Schedule from_environment();
};

/// SplitMix64: the same draws for the same seed.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  unsigned below(unsigned bound) { return static_cast<unsigned>(next() % bound); }

 private:
  std::uint64_t state_;
};

enum class State : std::uint8_t { kReady, kRunning, kAtBarrier, kAtWarp, kDone };

/// A CUDA thread.
struct Thread {
  Place place;
  unsigned number = 0;  // within the block
  State state = State::kDone;
  bool started = false;
  std::unique_ptr<Fiber> fiber;
  std::exception_ptr thrown;

  // At a barrier or a warp intrinsic: where, and what it hands in and gets back.
  Site site;
  const char* name = "";
  bool vote = false;
  unsigned votes = 0;
  WarpCall call;
  void* operand = nullptr;

  AsyncCopies copies;
  bool fenced = false;
  const void* last_atomic = nullptr;

  unsigned lane() const { return number % 32; }
  unsigned warp() const { return number / 32; }
};

/// Runs the threads of one block after the other, each until it waits or returns. Fibres are kept from block to block.
class Scheduler {
 public:
  Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();

  /// Throws what ends the block early, after all of its threads have been unwound.
  void run_block(const Launch& launch, Index block, const Schedule& schedule, void* shared);

  /// For the thread that runs: waits in `state` until the scheduler lets it go on.
  void wait(State state);

  Thread& current() { return *current_; }
  Order order() const { return order_; }
  Draws& draws() { return draws_; }
  void* shared() const { return shared_; }
  unsigned live_lanes(unsigned warp) const { return live_lanes_[warp]; }

 private:
  void start(const Launch& launch, Index block);
  void take_turns();
  void resume(Thread& thread);
  void body(Thread& thread);
  void unwind();

  void push(Thread& thread);
  template <class Wants>
  void release(unsigned begin, unsigned end, Wants wants);
  Thread& pop();

  template <class Wants>
  void order_memory(unsigned begin, unsigned end, Wants wants);
  void at_barrier(Thread& thread);
  void at_warp(const Thread& thread);
  void done(const Thread& thread);
  void yielded();
  [[noreturn]] void deadlock() const;
  Thread* lanes_of(unsigned warp) { return threads_.data() + std::size_t{warp} * 32; }

  std::vector<Thread> threads_ = std::vector<Thread>(1024);
  unsigned count_ = 0;  // threads of the block
  const Launch* launch_ = nullptr;
  void* shared_ = nullptr;
  Order order_ = Order::kAscending;
  Draws draws_{1};
  Thread* current_ = nullptr;
  bool unwinding_ = false;

  std::array<Thread*, 1024> ready_{};  // a ring: first in, first out, so that no thread starves
  unsigned first_ready_ = 0, ready_count_ = 0;
  std::array<unsigned, 32> live_lanes_{}, waiting_lanes_{};
  unsigned at_barrier_ = 0, done_ = 0, idle_yields_ = 0;
  Thread* first_at_barrier_ = nullptr;
};

}  // namespace simt
