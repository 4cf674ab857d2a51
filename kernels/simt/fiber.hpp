// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <span>

namespace simt {

/// A function with a stack of its own, that its owner resumes and that suspends itself. Owner and fibre stay on one OS thread.
///
/// The body is run again and again: once from each resume() that follows a return. An exception must not leave it.
/// AddressSanitizer is told of every switch; to ThreadSanitizer a fibre is a thread, and a switch orders nothing.
class Fiber {
 public:
  using Body = void (*)(void*);

  /// `number` shifts the stack by some cache lines: stacks that all begin at a multiple of 64 KiB share few cache sets.
  Fiber(Body body, void* argument, unsigned number);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  /// By the owner: runs the fibre until it suspends or the body returns.
  void resume();
  /// By the fibre: back to the owner.
  void suspend();

  /// Fills the part of the stack that the next call of the body will use first with 0xff. Nothing under sanitizers.
  void poison_stack();

  /// For ThreadSanitizer: what the owner did happens before what the fibre will do; the other way round; and what each of
  /// the fibres did happens before what each of them will do.
  void order_after_owner();
  void order_before_owner();
  static void order(std::span<Fiber* const> fibers);

 private:
  struct Context;  // where a suspended side goes on

  static void enter(Fiber* self);
  void prepare();

  Body body_;
  void* argument_;
  char* stack_;  // the lowest usable byte; a guard page lies below
  std::size_t stack_bytes_;
  std::unique_ptr<Context> fiber_, owner_;
  [[maybe_unused]] void* fiber_in_tsan_ = nullptr;
  [[maybe_unused]] void* owner_in_tsan_ = nullptr;
};

/// For ThreadSanitizer: accesses of the current context are neither checked nor remembered while it lives.
class UncheckedAccesses {
 public:
  UncheckedAccesses();
  UncheckedAccesses(const UncheckedAccesses&) = delete;
  UncheckedAccesses& operator=(const UncheckedAccesses&) = delete;
  ~UncheckedAccesses();  // NOLINT(performance-trivially-destructible): not with ThreadSanitizer
};

}  // namespace simt
