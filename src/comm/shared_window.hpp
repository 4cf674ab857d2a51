// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "comm/transport.hpp"

namespace phalanx {

/// Collectives among members that see one piece of memory: threads of a process, or the ranks of a
/// node.
///
/// Each member owns a place in the window: two stages of kStageBytes and two counters. A collective
/// is cut into steps. In step s a member writes stage s % 2 and then sets its counter `entered` to
/// s + 1; it reads the stages of others once their counters say so. Nobody begins step s before
/// everybody has entered step s - 1, that is, has left step s - 2, which used the same stage.
///
/// Data in an arena that all members see (add_arena) is not staged: a member reads its part of all members' data, and writes
/// its result into theirs. Every byte is then read once and written once. Such a step ends when all are `done`.
///
/// Waiting members look a few times, then yield, then sleep in the kernel (futex).
class SharedWindow {
 public:
  static constexpr std::size_t kStageBytes = std::size_t{1} << 20;
  /// Bytes of a window for `members`; they must be zero when the first member begins.
  static std::size_t size_bytes(int members) noexcept;

  /// `names` say who the members are in error messages. `memory` is 64-byte aligned and outlives
  /// this object.
  SharedWindow(void* memory, int member, std::vector<std::string> names);

  /// From now on collectives on slices of this memory are not staged. `bases` say where each member's is seen from here. The
  /// same arenas in the same order on every member; a collective takes the same slice of them on every member.
  void add_arena(std::vector<std::byte*> bases, std::size_t size_bytes);

  /// Combines this member's part of what its node holds with the same part on other nodes.
  using Across = std::function<void(TensorView part)>;
  void all_reduce(const Call& call, TensorView data, ReduceOp op, const Across& across = nullptr);
  void broadcast(const Call& call, std::span<std::byte> data, int root);
  void all_gather(const Call& call, std::span<const std::byte> mine, std::byte* all);
  void reduce_scatter(const Call& call, TensorView data, ReduceOp op);
  void all_gather_parts(const Call& call, TensorView data);
  void barrier(const Call& call);
  /// Tells the others which call this member is in, for their error messages. The collectives here
  /// do so themselves.
  void publish(const Call& call) noexcept;

 private:
  struct Counter;
  struct Place;

  Place& place(int member) const noexcept;
  std::byte* stage(int member) const noexcept;
  void begin_step(const Call& call);
  void enter_step() noexcept;
  // Around work on data that others see: from here on everybody's is ready; and nobody's is in use any more.
  void enter_together(const Call& call);
  void leave_together(const Call& call);
  // `data` as the members see it, this one's included; empty if it is in no arena.
  std::vector<TensorView> everywhere(TensorView data) const;
  void wait_for_all(const Call& call, Counter Place::*counter, std::uint32_t value) const;
  void wait_for(const Call& call, int member, Counter Place::*counter, std::uint32_t value) const;
  // "rank 2 (in call #4120)", for every member whose counter is not there yet.
  std::string missing(Counter Place::*counter, std::uint32_t value) const;
  void reduce_whole(const Call& call, TensorView data, ReduceOp op);
  void reduce_by_parts(const Call& call, TensorView data, ReduceOp op, const Across& across);
  void reduce_in_place(const Call& call, const std::vector<TensorView>& data, ReduceOp op,
                       const Across& across);

  struct Arena {
    std::vector<std::byte*> bases;
    std::size_t size_bytes;
  };

  std::byte* memory_;
  int member_;
  int members_;
  std::vector<std::string> names_;
  std::vector<Arena> arenas_;
  std::uint32_t step_ = 0;
};

}  // namespace phalanx
