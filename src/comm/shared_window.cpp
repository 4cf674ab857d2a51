// SPDX-License-Identifier: Apache-2.0
#include "comm/shared_window.hpp"

#include <fmt/format.h>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <utility>

#include "comm/rank_layout.hpp"

namespace phalanx {
namespace {

// Up to this size every member combines everything by itself: twice the arithmetic, one wait fewer.
constexpr std::size_t kWholeBytes = std::size_t{16} << 10;
// Between nodes, a part is exchanged piece by piece, so that what was summed is still in the cache when it is handed on.
constexpr std::size_t kPieceBytes = std::size_t{2} << 20;
constexpr int kLooks = 200;            // before a waiting member yields
constexpr int kYields = 100;           // before it sleeps
constexpr long kSleepNs = 20'000'000;  // a sleeper looks at the clock this often

TensorView slice(TensorView data, Range range) {
  const std::size_t offset = static_cast<std::size_t>(range.begin) * size_bytes(data.type.dtype);
  return {data.as<std::byte>() + offset, {data.type.dtype, {range.size()}}};
}

std::vector<const void*> starts(const std::vector<TensorView>& views) {
  std::vector<const void*> found;
  for (const TensorView& v : views) found.push_back(v.data);
  return found;
}

}  // namespace

struct alignas(64) SharedWindow::Counter {
  std::atomic<std::uint32_t> value;
  std::atomic<std::uint32_t> sleepers;

  // Steps wrap around, hence the difference.
  bool reached(std::uint32_t target) const noexcept {
    return static_cast<std::int32_t>(value.load(std::memory_order_acquire) - target) >= 0;
  }
  // A member counts itself as a sleeper before it looks at the value for the last time, and the
  // value is set before the sleepers are counted: one of the two sees the other.
  void set(std::uint32_t target) noexcept {
    value.store(target);
    if (sleepers.load() > 0) syscall(SYS_futex, &value, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  }
  void sleep(std::uint32_t seen) noexcept {
    const timespec timeout{0, kSleepNs};
    ++sleepers;
    syscall(SYS_futex, &value, FUTEX_WAIT, seen, &timeout, nullptr, 0);
    --sleepers;
  }
};

struct alignas(64) SharedWindow::Place {
  Counter entered;
  Counter done;
  std::atomic<std::uint64_t> number;  // of the call the member is in
};

std::size_t SharedWindow::size_bytes(int members) noexcept {
  return static_cast<std::size_t>(members) * (sizeof(Place) + 2 * kStageBytes);
}

SharedWindow::SharedWindow(void* memory, int member, std::vector<std::string> names)
    : memory_(static_cast<std::byte*>(memory)),
      member_(member),
      members_(static_cast<int>(names.size())),
      names_(std::move(names)) {}

SharedWindow::Place& SharedWindow::place(int member) const noexcept {
  return reinterpret_cast<Place*>(memory_)[member];
}

std::byte* SharedWindow::stage(int member) const noexcept {
  const std::size_t index = static_cast<std::size_t>(member) * 2 + step_ % 2;
  return memory_ + static_cast<std::size_t>(members_) * sizeof(Place) + index * kStageBytes;
}

void SharedWindow::publish(const Call& call) noexcept {
  place(member_).number.store(call.number, std::memory_order_relaxed);
}

void SharedWindow::wait_for(const Call& call, int member, Counter Place::*counter,
                            std::uint32_t value) const {
  Counter& c = place(member).*counter;
  for (int i = 0; i < kLooks; ++i) {
    if (c.reached(value)) return;
    __builtin_ia32_pause();
  }
  for (int i = 0; i < kYields; ++i) {
    if (c.reached(value)) return;
    sched_yield();
  }
  while (!c.reached(value)) {
    if (call.cancelled() || call.late()) call.fail(missing(counter, value));
    const std::uint32_t seen = c.value.load();
    if (static_cast<std::int32_t>(seen - value) < 0) c.sleep(seen);
  }
}

std::string SharedWindow::missing(Counter Place::*counter, std::uint32_t value) const {
  std::string text;
  for (int m = 0; m < members_; ++m) {
    if ((place(m).*counter).reached(value)) continue;
    text += fmt::format("{}{} (in call #{})", text.empty() ? "" : ", ", names_[m],
                        place(m).number.load());
  }
  return text;
}

void SharedWindow::wait_for_all(const Call& call, Counter Place::*counter,
                                std::uint32_t value) const {
  for (int m = 0; m < members_; ++m) wait_for(call, m, counter, value);
}

void SharedWindow::begin_step(const Call& call) { wait_for_all(call, &Place::entered, step_); }

void SharedWindow::enter_step() noexcept { place(member_).entered.set(step_ + 1); }

void SharedWindow::enter_together(const Call& call) {
  begin_step(call);
  enter_step();
  wait_for_all(call, &Place::entered, step_ + 1);
}

void SharedWindow::leave_together(const Call& call) {
  place(member_).done.set(step_ + 1);
  wait_for_all(call, &Place::done, step_ + 1);
  ++step_;
}

void SharedWindow::add_arena(std::vector<std::byte*> bases, std::size_t size_bytes) {
  arenas_.push_back({std::move(bases), size_bytes});
}

std::vector<TensorView> SharedWindow::everywhere(TensorView data) const {
  const auto* begin = data.as<std::byte>();
  for (const Arena& arena : arenas_) {
    const std::byte* base = arena.bases[static_cast<std::size_t>(member_)];
    if (begin < base || begin + data.type.size_bytes() > base + arena.size_bytes) continue;
    std::vector<TensorView> views;
    for (std::byte* theirs : arena.bases) views.push_back({theirs + (begin - base), data.type});
    return views;
  }
  return {};
}

void SharedWindow::all_reduce(const Call& call, TensorView data, ReduceOp op,
                              const Across& across) {
  publish(call);
  const std::size_t size_bytes = data.type.size_bytes();
  if (size_bytes <= kWholeBytes && !across) return reduce_whole(call, data, op);
  if (const auto views = everywhere(data); !views.empty())
    return reduce_in_place(call, views, op, across);
  const auto most = static_cast<std::int64_t>(kStageBytes / phalanx::size_bytes(data.type.dtype));
  for (std::int64_t begin = 0; begin < data.numel(); begin += most)
    reduce_by_parts(call, slice(data, {begin, std::min(begin + most, data.numel())}), op, across);
}

void SharedWindow::reduce_whole(const Call& call, TensorView data, ReduceOp op) {
  begin_step(call);
  std::copy_n(data.as<std::byte>(), data.type.size_bytes(), stage(member_));
  enter_step();
  wait_for_all(call, &Place::entered, step_ + 1);
  std::vector<const void*> inputs;
  for (int m = 0; m < members_; ++m) inputs.push_back(stage(m));
  combine(op, data.type.dtype, inputs, data.data, data.numel());
  ++step_;
}

// The own part of a stage is not read by anyone before it holds the result.
void SharedWindow::reduce_by_parts(const Call& call, TensorView data, ReduceOp op,
                                   const Across& across) {
  const auto part = [&](int m) { return slice(data, part_of(data.numel(), m, members_)); };
  const auto staged = [&](int m, int of) {
    return stage(m) + (part(of).as<std::byte>() - data.as<std::byte>());
  };
  const auto bytes = [&](int m) { return part(m).type.size_bytes(); };
  begin_step(call);
  for (int m = 0; m < members_; ++m) {
    if (m != member_) std::copy_n(part(m).as<std::byte>(), bytes(m), staged(member_, m));
  }
  enter_step();
  wait_for_all(call, &Place::entered, step_ + 1);
  const TensorView mine = part(member_);
  std::vector<const void*> inputs;
  for (int m = 0; m < members_; ++m)
    inputs.push_back(m == member_ ? mine.data : staged(m, member_));
  combine(op, data.type.dtype, inputs, mine.data, mine.numel());
  if (across) across(mine);
  std::copy_n(mine.as<std::byte>(), bytes(member_), staged(member_, member_));
  place(member_).done.set(step_ + 1);
  for (int i = 1; i < members_; ++i) {
    const int m = (member_ + i) % members_;
    wait_for(call, m, &Place::done, step_ + 1);
    std::copy_n(staged(m, m), bytes(m), part(m).as<std::byte>());
  }
  ++step_;
}

void SharedWindow::reduce_in_place(const Call& call, const std::vector<TensorView>& data,
                                   ReduceOp op, const Across& across) {
  const TensorView own = data[static_cast<std::size_t>(member_)];
  const Range part = part_of(own.numel(), member_, members_);
  const auto piece_elements =
      static_cast<std::int64_t>(kPieceBytes / phalanx::size_bytes(own.type.dtype));
  enter_together(call);
  for (std::int64_t begin = part.begin; begin < part.end; begin += piece_elements) {
    const Range piece{begin, std::min(begin + piece_elements, part.end)};
    const TensorView mine = slice(own, piece);
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (const TensorView& view : data) {
      inputs.push_back(slice(view, piece).data);
      outputs.push_back(slice(view, piece).data);
    }
    if (!across) {
      combine(op, own.type.dtype, inputs, outputs, piece.size());
      continue;
    }
    combine(op, own.type.dtype, inputs, mine.data, piece.size());
    across(mine);
    for (void* output : outputs)
      if (output != mine.data)
        std::copy_n(mine.as<std::byte>(), mine.type.size_bytes(), static_cast<std::byte*>(output));
  }
  leave_together(call);
}

void SharedWindow::broadcast(const Call& call, std::span<std::byte> data, int root) {
  publish(call);
  for (std::size_t begin = 0; begin < data.size(); begin += kStageBytes) {
    const std::span chunk = data.subspan(begin, std::min(kStageBytes, data.size() - begin));
    begin_step(call);
    if (member_ == root) std::ranges::copy(chunk, stage(root));
    enter_step();
    if (member_ != root) {
      wait_for(call, root, &Place::entered, step_ + 1);
      std::copy_n(stage(root), chunk.size(), chunk.data());
    }
    ++step_;
  }
}

void SharedWindow::all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all) {
  publish(call);
  for (std::size_t begin = 0; begin < mine.size(); begin += kStageBytes) {
    const std::span chunk = mine.subspan(begin, std::min(kStageBytes, mine.size() - begin));
    begin_step(call);
    std::ranges::copy(chunk, stage(member_));
    enter_step();
    for (int m = 0; m < members_; ++m) {
      wait_for(call, m, &Place::entered, step_ + 1);
      std::copy_n(stage(m), chunk.size(), all + static_cast<std::size_t>(m) * mine.size() + begin);
    }
    ++step_;
  }
}

// Staged, the parts go piece by piece: a stage has a slot for each.
void SharedWindow::reduce_scatter(const Call& call, TensorView data, ReduceOp op) {
  publish(call);
  const Range part = part_of(data.numel(), member_, members_);
  if (const auto views = everywhere(slice(data, part)); !views.empty()) {
    enter_together(call);
    combine(op, data.type.dtype, starts(views), slice(data, part).data, part.size());
    return leave_together(call);
  }
  const std::size_t element = phalanx::size_bytes(data.type.dtype);
  const auto slot = static_cast<std::int64_t>(kStageBytes / names_.size() / element);
  const auto slot_of = [&](int member, int of) {
    return stage(member) + static_cast<std::size_t>(of * slot) * element;
  };
  const std::int64_t longest = part_of(data.numel(), 0, members_).size();
  for (std::int64_t begin = 0; begin < longest; begin += slot) {
    const auto piece = [&](int m) {
      const Range whole = part_of(data.numel(), m, members_);
      return slice(data, {std::min(whole.begin + begin, whole.end),
                          std::min(whole.begin + begin + slot, whole.end)});
    };
    begin_step(call);
    for (int m = 0; m < members_; ++m)
      if (m != member_)
        std::copy_n(piece(m).as<std::byte>(), piece(m).type.size_bytes(), slot_of(member_, m));
    enter_step();
    wait_for_all(call, &Place::entered, step_ + 1);
    const TensorView mine = piece(member_);
    std::vector<const void*> inputs;
    for (int m = 0; m < members_; ++m)
      inputs.push_back(m == member_ ? mine.data : slot_of(m, member_));
    combine(op, data.type.dtype, inputs, mine.data, mine.numel());
    ++step_;
  }
}

void SharedWindow::all_gather_parts(const Call& call, TensorView data) {
  publish(call);
  const TensorView mine = slice(data, part_of(data.numel(), member_, members_));
  if (const auto views = everywhere(mine); !views.empty()) {
    enter_together(call);
    for (const TensorView& view : views)
      if (view.data != mine.data)
        std::copy_n(mine.as<std::byte>(), mine.type.size_bytes(), view.as<std::byte>());
    return leave_together(call);
  }
  const std::size_t longest = slice(data, part_of(data.numel(), 0, members_)).type.size_bytes();
  for (std::size_t begin = 0; begin < longest; begin += kStageBytes) {
    const auto piece = [&](int m) {
      const TensorView whole = slice(data, part_of(data.numel(), m, members_));
      const std::span bytes(whole.as<std::byte>(), whole.type.size_bytes());
      return bytes.subspan(std::min(begin, bytes.size()))
          .first(std::min(kStageBytes, bytes.size() - std::min(begin, bytes.size())));
    };
    begin_step(call);
    std::ranges::copy(piece(member_), stage(member_));
    enter_step();
    for (int m = 0; m < members_; ++m) {
      if (m == member_) continue;
      wait_for(call, m, &Place::entered, step_ + 1);
      std::copy_n(stage(m), piece(m).size(), piece(m).data());
    }
    ++step_;
  }
}

void SharedWindow::barrier(const Call& call) {
  publish(call);
  begin_step(call);
  enter_step();
  wait_for_all(call, &Place::entered, step_ + 1);
  ++step_;
}

}  // namespace phalanx
