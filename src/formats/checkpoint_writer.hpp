// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "device/buffer.hpp"
#include "formats/checkpoint.hpp"

namespace phalanx {

/// What goes into one checkpoint, and under which names.
struct CheckpointContent {
  std::int64_t step = 0;
  bool is_best = false;      ///< best.h5
  bool is_numbered = false;  ///< step_NNNNNNNNN.h5
  std::string run;           ///< see write_checkpoint
  std::vector<CheckpointEntry> entries;
};

/// Writes the checkpoints of a run into its folder, and removes the old ones.
///
/// With a thread, save() only takes note: the thread copies the arrays into memory of the writer while the caller goes on,
/// and then writes the copy. One checkpoint is in work at a time: save() waits for the one before, so none is left out,
/// and the memory is that of one copy. The first long wait is logged.
///
/// Threads   one thread calls all members. What the writer's own thread throws (IoError: disk full) comes out of the next
///           call of save(), wait_until_copied() or finish_within(), once.
class CheckpointWriter {
 public:
  struct Options {
    std::int64_t keep = 3;   ///< see CheckpointFolder::prune
    bool has_thread = true;  ///< false: save() writes, and returns when the file is on disk
  };
  CheckpointWriter(CheckpointFolder folder, const Options& options);
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  /// Finishes the checkpoint in work; if it fails now, that is logged.
  ~CheckpointWriter();

  /// Takes the memory for copies of such arrays, which else the first save() does.
  void reserve(const std::vector<CheckpointEntry>& entries);
  /// With a thread, arrays must neither move nor change until wait_until_copied() returns; those with `changes_early` may
  /// change at once. `best.h5` is written first: a run killed in between goes on from before, and writes both again.
  void save(CheckpointContent content);
  void wait_until_copied();
  /// Waits, at most so long, until everything that was given to save() is on disk. True if it is.
  bool finish_within(double seconds);

 private:
  enum class Stage : std::uint8_t { kIdle, kCopying, kWriting };
  struct Copy {
    const void* from;
    void* to;
    std::size_t size_bytes;
  };
  void wait_until_idle(std::unique_lock<std::mutex>& lock);
  void rethrow_failure();
  void write(const CheckpointContent& content) const;
  void run();

  CheckpointFolder folder_;
  Options options_;
  Stream host_{Device{}};
  Buffer
      memory_;  // of the copies; the thread's own but in stage kIdle, as are content_ and copies_
  CheckpointContent content_;
  std::vector<Copy> copies_;  // still to be made

  std::mutex mutex_;
  std::condition_variable changed_;
  Stage stage_ = Stage::kIdle;  // guarded by mutex_, as are the next two
  std::exception_ptr failure_;
  bool is_stopping_ = false;
  bool has_warned_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace phalanx
