// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace phalanx::emulation {

class EmulatedStream;

/// What a capture recorded: work in branches, one for each stream that took part, and where one waits for another. The
/// branches stay apart when it is enqueued, so that what does not wait for another branch may well run before it.
class Recording {
 public:
  using Work = std::function<bool()>;

  /// A place in a branch: how much of every branch comes before it.
  struct Mark {
    std::size_t branch = 0;
    std::vector<std::size_t> seen;
  };

  std::size_t add_branch();
  std::size_t branches() const noexcept { return seen_.size(); }
  void add(std::size_t branch, Work work);
  Mark mark(std::size_t branch) const { return {branch, seen_[branch]}; }
  void wait(std::size_t branch, const Mark& mark);

  /// Something happened that no capture allows; the first counts.
  void fail(const std::string& why);
  /// Throws    DeviceError if something failed, or if branch 0 does not wait for all of another.
  void end();
  bool has_ended() const noexcept { return has_ended_; }

  /// Once more, on a stream for each branch.
  void enqueue(std::span<const std::shared_ptr<EmulatedStream>> streams) const;

 private:
  struct Step {
    std::size_t branch;
    Work work;  // null: waits for another branch
    std::size_t of_branch = 0;
    std::size_t count = 0;  // of what was added to that
  };
  std::vector<Step> steps_;
  std::vector<std::vector<std::size_t>> seen_;  // by branch: how much of each it waits for
  std::string failure_;
  bool has_ended_ = false;
};

}  // namespace phalanx::emulation
