// SPDX-License-Identifier: Apache-2.0
// Compiled without ThreadSanitizer's instrumentation in every build, so SIMT_TSAN says whether the program has it.
#include "simt/fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif
#if !defined(__x86_64__)
#define SIMT_UCONTEXT
#endif
#if defined(SIMT_UCONTEXT)
#include <ucontext.h>
#endif

namespace simt {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 << 10;  // red zones round every variable
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif
constexpr std::size_t kPoisonedBytes = 1 << 10;
constexpr unsigned kShifts = 61;

}  // namespace

#if !defined(SIMT_UCONTEXT)
// System V calling convention: a switch keeps the six registers that belong to the caller, on the stack that is left.
// The first switch to a stack ends in simt_first_switch, with the argument in r12 and the function in r13.
extern "C" void simt_switch_stack(void** from, void* to);
extern "C" void simt_first_switch();
asm(R"(
    .text
    .globl simt_switch_stack
    .type simt_switch_stack, @function
simt_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size simt_switch_stack, .-simt_switch_stack
    .globl simt_first_switch
    .type simt_first_switch, @function
simt_first_switch:
    movq %r12, %rdi
    callq *%r13
    ud2
    .size simt_first_switch, .-simt_first_switch
)");
#endif

struct Fiber::Context {
#if defined(SIMT_UCONTEXT)
  ucontext_t registers{};
  void switch_to(Context& to) { swapcontext(&registers, &to.registers); }
#else
  void* stack_pointer = nullptr;
  void switch_to(Context& to) { simt_switch_stack(&stack_pointer, to.stack_pointer); }
#endif
  // For AddressSanitizer.
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  void before_leaving([[maybe_unused]] const Context& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack, to.bottom, to.bytes);
#endif
  }
  void after_arriving([[maybe_unused]] Context* from = nullptr) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, from ? &from->bottom : nullptr,
                                    from ? &from->bytes : nullptr);
#endif
  }
};

Fiber::Fiber(Body body, void* argument, unsigned number)
    : body_(body),
      argument_(argument),
      stack_bytes_(kStackBytes),
      fiber_(std::make_unique<Context>()),
      owner_(std::make_unique<Context>()) {
  const std::size_t page = sysconf(_SC_PAGESIZE);
  void* memory = mmap(nullptr, page + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
    throw std::system_error(errno, std::generic_category(), "no stack for a CUDA thread");
  }
  stack_ = static_cast<char*>(memory) + page;
  fiber_->bottom = stack_;
  fiber_->bytes = stack_bytes_;
#if defined(SIMT_TSAN)
  fiber_in_tsan_ = __tsan_create_fiber(0);
  owner_in_tsan_ = __tsan_get_current_fiber();
#endif
  stack_bytes_ -= number % kShifts * 64;
  prepare();
}

Fiber::~Fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
#if defined(SIMT_TSAN)
  __tsan_destroy_fiber(fiber_in_tsan_);
#endif
  const std::size_t page = sysconf(_SC_PAGESIZE);
  munmap(stack_ - page, page + kStackBytes);
}

#if defined(SIMT_UCONTEXT)
void Fiber::prepare() {
  ucontext_t& registers = fiber_->registers;
  getcontext(&registers);
  registers.uc_stack.ss_sp = stack_;
  registers.uc_stack.ss_size = stack_bytes_;
  // makecontext hands on integers only: a pointer travels in two.
  using Entry = void (*)();
  const auto entry = +[](unsigned high, unsigned low) {
    enter(reinterpret_cast<Fiber*>(std::uintptr_t{high} << 16 << 16 | low));
  };
  const auto self = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&registers, reinterpret_cast<Entry>(entry), 2,
              static_cast<unsigned>(self >> 16 >> 16), static_cast<unsigned>(self));
}
#else
void Fiber::prepare() {
  void** top = reinterpret_cast<void**>(stack_ + stack_bytes_);
  *--top = nullptr;  // where a walk up the stack ends
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&simt_first_switch);
  *--top = nullptr;                                 // rbp
  *--top = nullptr;                                 // rbx
  *--top = this;                                    // r12
  *--top = reinterpret_cast<void*>(&Fiber::enter);  // r13
  *--top = nullptr;                                 // r14
  *--top = nullptr;                                 // r15
  fiber_->stack_pointer = top;
}
#endif

void Fiber::enter(Fiber* self) {
  self->fiber_->after_arriving(self->owner_.get());
  for (;;) {
    self->body_(self->argument_);
    self->suspend();
  }
}

void Fiber::resume() {
  owner_->before_leaving(*fiber_);
#if defined(SIMT_TSAN)
  __tsan_switch_to_fiber(fiber_in_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  owner_->switch_to(*fiber_);
  owner_->after_arriving();
}

void Fiber::suspend() {
  fiber_->before_leaving(*owner_);
#if defined(SIMT_TSAN)
  __tsan_switch_to_fiber(owner_in_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  fiber_->switch_to(*owner_);
  fiber_->after_arriving(owner_.get());
}

void Fiber::poison_stack() {
#if !defined(SIMT_UCONTEXT) && !defined(SIMT_TSAN) && !defined(__SANITIZE_ADDRESS__)
  std::memset(static_cast<char*>(fiber_->stack_pointer) - kPoisonedBytes, 0xff, kPoisonedBytes);
#endif
}

#if defined(SIMT_TSAN)

void Fiber::order_after_owner() {
  __tsan_switch_to_fiber(fiber_in_tsan_, 0);
  __tsan_switch_to_fiber(owner_in_tsan_, __tsan_switch_to_fiber_no_sync);
}
void Fiber::order_before_owner() {
  __tsan_switch_to_fiber(fiber_in_tsan_, __tsan_switch_to_fiber_no_sync);
  __tsan_switch_to_fiber(owner_in_tsan_, 0);
}
void Fiber::order(std::span<Fiber* const> fibers) {
  if (fibers.empty()) return;
  void* owner = fibers.front()->owner_in_tsan_;
  const auto meeting =
      std::make_unique<char>();  // an address of its own: edges over one address add up
  for (Fiber* fiber : fibers) {
    __tsan_switch_to_fiber(fiber->fiber_in_tsan_, __tsan_switch_to_fiber_no_sync);
    __tsan_release(meeting.get());
  }
  for (Fiber* fiber : fibers) {
    __tsan_switch_to_fiber(fiber->fiber_in_tsan_, __tsan_switch_to_fiber_no_sync);
    __tsan_acquire(meeting.get());
  }
  __tsan_switch_to_fiber(owner, __tsan_switch_to_fiber_no_sync);
}
UncheckedAccesses::UncheckedAccesses() {
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
UncheckedAccesses::~UncheckedAccesses() {
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}

#else

void Fiber::order_after_owner() {}
void Fiber::order_before_owner() {}
void Fiber::order(std::span<Fiber* const>) {}
UncheckedAccesses::UncheckedAccesses() = default;
UncheckedAccesses::~UncheckedAccesses() = default;

#endif

}  // namespace simt
