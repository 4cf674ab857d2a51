// SPDX-License-Identifier: Apache-2.0
#include "simt/scheduler.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace simt {
namespace {

constexpr unsigned kYieldsWithoutProgress =
    20000;  // by each thread: then nobody will ever get what he spins for
constexpr unsigned kGroupsInMessages = 6;

#if defined(SIMT_TSAN)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

/// Thrown through the stacks of threads that will not go on.
struct Unwound {};

/// Thrown while the scheduler combines operands.
struct LaneFault {
  unsigned lane;
  std::string what;
};

constexpr auto everybody = [](const Thread&) { return true; };

std::string text_of(Index index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," +
         std::to_string(index.z) + ")";
}

std::string hexadecimal(unsigned mask) {
  std::string digits;
  for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[mask >> shift & 15];
  return "0x" + digits;
}

std::string place_of(const Site& site) {
  return std::string(site.file) + ":" + std::to_string(site.line);
}

/// "thread (1,0,0) at file.cu:3 in __syncthreads".
std::string text_of(const Thread& thread) {
  std::string text = "thread " + text_of(thread.place.thread);
  if (thread.state == State::kDone) return text + " has returned";
  text += " at " + place_of(thread.site) + " in " + thread.name;
  if (thread.state == State::kAtWarp) text += " with mask " + hexadecimal(thread.call.mask);
  return text;
}

[[noreturn]] void refuse(const Thread& thread, const std::string& what) {
  throw Error(place_of(thread.site) + ": block " + text_of(thread.place.block) + ", thread " +
              text_of(thread.place.thread) + ": " + what);
}

bool same_place(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

bool same_call(const Thread& a, const Thread& b) {
  return a.call.combine == b.call.combine && a.call.orders_memory == b.call.orders_memory &&
         (a.call.convergence == Convergence::kMask || same_place(a.site, b.site));
}

unsigned long number_from_environment(const char* name, unsigned long otherwise) {
  const char* text = std::getenv(name);
  if (!text) return otherwise;
  char* end = nullptr;
  const unsigned long value = std::strtoul(text, &end, 10);
  if (end == text || *end) throw Error(std::string(name) + " is '" + text + "'; expected a number");
  return value;
}

}  // namespace

Schedule Schedule::from_environment() {
  Schedule schedule;
  const char* order = std::getenv("SIMT_ORDER");
  const std::string_view name = order ? order : "ascending";
  if (name == "descending") {
    schedule.order = Order::kDescending;
  } else if (name == "random") {
    schedule.order = Order::kRandom;
  } else if (name != "ascending") {
    throw Error("SIMT_ORDER is '" + std::string(name) +
                "'; expected ascending, descending or random");
  }
  schedule.seed = number_from_environment("SIMT_SEED", schedule.seed);
#if !defined(__SANITIZE_ADDRESS__)
  schedule.workers =
      static_cast<unsigned>(std::clamp(number_from_environment("SIMT_WORKERS", 1), 1ul, 64ul));
#endif
  return schedule;
}

std::uint64_t Draws::next() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void Lanes::refuse(unsigned lane, const std::string& why) { throw LaneFault{lane, why}; }

Scheduler::~Scheduler() = default;

void Scheduler::run_block(const Launch& launch, Index block, const Schedule& schedule,
                          void* shared) {
  launch_ = &launch;
  shared_ = shared;
  order_ = schedule.order;
  const std::uint64_t number =
      block.x + std::uint64_t{launch.grid.x} * (block.y + std::uint64_t{launch.grid.y} * block.z);
  draws_ = Draws(schedule.seed ^ (number + 1) << 20);
  start(launch, block);
  try {
    take_turns();
  } catch (...) {
    unwind();
    throw;
  }
  for (unsigned i = 0; i < count_; ++i) threads_[i].fiber->order_before_owner();
}

void Scheduler::start(const Launch& launch, Index block) {
  const Index size = launch.block;
  count_ = size.x * size.y * size.z;
  at_barrier_ = done_ = idle_yields_ = 0;
  first_ready_ = ready_count_ = 0;
  waiting_lanes_.fill(0);
  live_lanes_.fill(0);
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    thread.number = i;
    thread.place = {
        {i % size.x, i / size.x % size.y, i / (size.x * size.y)}, block, size, launch.grid};
    thread.started = thread.fenced = false;
    thread.last_atomic = nullptr;
    thread.thrown = nullptr;
    thread.copies.waiting.clear();
    thread.copies.open_group = 0;
    live_lanes_[i / 32] |= 1u << i % 32;
    if (!thread.fiber) {
      // The body knows its thread by the scheduler: one pointer is enough.
      const auto body = [](void* self) {
        auto& scheduler = *static_cast<Scheduler*>(self);
        scheduler.body(*scheduler.current_);
      };
      thread.fiber = std::make_unique<Fiber>(body, this, i);
    }
    thread.fiber->poison_stack();
    thread.fiber->order_after_owner();
  }
  release(0, count_, everybody);
}

void Scheduler::body(Thread& thread) {
  try {
    launch_->kernel();
  } catch (const Unwound&) {
  } catch (...) {
    thread.thrown = std::current_exception();
  }
  thread.state = State::kDone;
}

void Scheduler::take_turns() {
  while (done_ != count_) {
    if (ready_count_ == 0) deadlock();
    Thread& thread = pop();
    resume(thread);
    if (thread.thrown) std::rethrow_exception(thread.thrown);
    if (thread.state == State::kReady) {
      push(thread);
      yielded();
      continue;
    }
    idle_yields_ = 0;
    switch (thread.state) {
      case State::kAtBarrier: at_barrier(thread); break;
      case State::kAtWarp: at_warp(thread); break;
      default: done(thread); break;
    }
  }
}

void Scheduler::resume(Thread& thread) {
  thread.state = State::kRunning;
  thread.started = true;
  current_ = &thread;
  here = &thread.place;
  thread.fiber->resume();
  here = nullptr;
  current_ = nullptr;
}

void Scheduler::wait(State state) {
  Thread& thread = *current_;
  thread.state = state;
  thread.fiber->suspend();
  if (unwinding_) throw Unwound();
}

void Scheduler::unwind() {
  unwinding_ = true;
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = threads_[i];
    while (thread.started && thread.state != State::kDone) resume(thread);
    thread.state = State::kDone;
    thread.thrown = nullptr;
    thread.fiber->order_before_owner();
  }
  unwinding_ = false;
}

void Scheduler::push(Thread& thread) {
  thread.state = State::kReady;
  ready_[(first_ready_ + ready_count_++) % ready_.size()] = &thread;
}

/// Makes those of the threads [begin, end) ready that are wanted.
template <class Wants>
void Scheduler::release(unsigned begin, unsigned end, Wants wants) {
  for (unsigned i = begin; i < end; ++i) {
    Thread& thread = threads_[order_ == Order::kDescending ? end - 1 - (i - begin) : i];
    if (wants(thread)) push(thread);
  }
}

/// A barrier among those of the threads [begin, end) that are wanted, as ThreadSanitizer sees it.
template <class Wants>
void Scheduler::order_memory(unsigned begin, unsigned end, Wants wants) {
  if constexpr (kThreadSanitizer) {
    std::vector<Fiber*> fibers;
    for (unsigned i = begin; i < end; ++i) {
      if (wants(threads_[i])) fibers.push_back(threads_[i].fiber.get());
    }
    Fiber::order(fibers);
  }
}

Thread& Scheduler::pop() {
  Thread*& first = ready_[first_ready_];
  if (order_ == Order::kRandom) {
    std::swap(first, ready_[(first_ready_ + draws_.below(ready_count_)) % ready_.size()]);
  }
  first_ready_ = (first_ready_ + 1) % ready_.size();
  --ready_count_;
  return *first;
}

void Scheduler::at_barrier(Thread& thread) {
  if (at_barrier_++ == 0) {
    first_at_barrier_ = &thread;
    thread.votes = 0;
  }
  Thread& first = *first_at_barrier_;
  first.votes += thread.vote;
  if (!same_place(first.site, thread.site) || std::strcmp(first.name, thread.name) != 0) {
    refuse(thread, "divergent barrier: " + text_of(first) + ", " + text_of(thread));
  }
  if (done_ != 0) {
    const auto returned =
        std::find_if(threads_.begin(), threads_.begin() + count_,
                     [](const Thread& other) { return other.state == State::kDone; });
    refuse(thread, std::string(thread.name) + " after " + text_of(*returned));
  }
  if (at_barrier_ != count_) return;
  at_barrier_ = 0;
  const unsigned votes = first.votes;
  for (unsigned i = 0; i < count_; ++i) threads_[i].votes = votes;
  order_memory(0, count_, everybody);
  release(0, count_, everybody);
}

/// Lets the lanes of a warp go on if `thread` is the last of those it waits for.
void Scheduler::at_warp(const Thread& thread) {
  const unsigned warp = thread.warp(), own = 1u << thread.lane();
  const WarpCall& call = thread.call;
  if ((call.mask & own) == 0) {
    refuse(thread, std::string(thread.name) + ": its lane " + std::to_string(thread.lane()) +
                       " is not in its mask " + hexadecimal(call.mask));
  }
  waiting_lanes_[warp] |= own;
  const unsigned active = call.mask & live_lanes_[warp];
  if (call.convergence == Convergence::kAligned && active != ~0u) {
    refuse(thread,
           std::string(thread.name) + " needs all 32 lanes; here are " + hexadecimal(active));
  }
  if ((waiting_lanes_[warp] & active) != active) return;
  Thread* lanes = lanes_of(warp);
  std::array<void*, 32> operands{};
  for (unsigned rest = active; rest; rest &= rest - 1) {
    const Thread& other = lanes[std::countr_zero(rest)];
    if (other.call.mask != call.mask) return;  // it waits for others, and will come here later
    if (!same_call(thread, other))
      refuse(thread, "lanes disagree: " + text_of(other) + ", " + text_of(thread));
    operands[other.lane()] = other.operand;
  }
  if (call.combine) {
    const UncheckedAccesses a_result_orders_no_memory;
    try {
      call.combine({operands.data(), active});
    } catch (const LaneFault& fault) {
      refuse(lanes[fault.lane], std::string(call.name) + ": " + fault.what);
    }
  }
  const unsigned begin = warp * 32, end = std::min(begin + 32, count_);
  const auto takes_part = [active](const Thread& other) {
    return (active >> other.lane() & 1) != 0;
  };
  if (call.orders_memory) order_memory(begin, end, takes_part);
  waiting_lanes_[warp] &= ~active;
  release(begin, end, takes_part);
}

void Scheduler::done(const Thread& thread) {
  ++done_;
  live_lanes_[thread.warp()] &= ~(1u << thread.lane());
  if (at_barrier_ != 0)
    refuse(*first_at_barrier_, text_of(thread) + " while " + text_of(*first_at_barrier_));
  // A lane may have been the last that others waited for.
  for (unsigned rest = waiting_lanes_[thread.warp()]; rest; rest &= rest - 1) {
    const Thread& other = lanes_of(thread.warp())[std::countr_zero(rest)];
    if (other.state == State::kAtWarp) at_warp(other);
  }
}

void Scheduler::yielded() {
  if (++idle_yields_ < kYieldsWithoutProgress * (ready_count_ + 1)) return;
  std::string message = "livelock: every thread that can run spins";
  for (unsigned i = 0, found = 0; i < count_ && found < kGroupsInMessages; ++i) {
    const Thread& thread = threads_[i];
    if (thread.state != State::kAtBarrier && thread.state != State::kAtWarp) continue;
    message += "; " + text_of(thread);
    ++found;
  }
  throw Error("block " + text_of(threads_[0].place.block) + ": " + message);
}

void Scheduler::deadlock() const {
  std::string message;
  const Thread *stuck = nullptr, *last = nullptr;
  for (unsigned i = 0, found = 0; i < count_ && found < kGroupsInMessages; ++i) {
    const Thread& thread = threads_[i];
    if (!stuck && thread.state == State::kAtWarp) stuck = &thread;
    const bool as_before = last && thread.state == last->state &&
                           same_place(thread.site, last->site) &&
                           (thread.state != State::kAtWarp || thread.call.mask == last->call.mask);
    if (!as_before) {
      message += (found ? "; " : "") + text_of(thread);
      ++found;
    }
    last = &thread;
  }
  refuse(stuck ? *stuck : threads_[0], "deadlock: " + message);
}

}  // namespace simt
