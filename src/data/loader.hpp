// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <vector>

#include "data/row_source.hpp"
#include "data/sampler.hpp"
#include "data/transforms.hpp"
#include "device/buffer.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

/// One micro-batch of one rank, in host memory.
struct Batch {
  ConstTensorView x;  ///< f32 [rows, C, H, W] or [rows, F]; kColumn: [rows, F_r], images flat
  ConstTensorView y;  ///< i64 [rows] for classes, f32 [rows, K] for values
  BatchSlice slice;
};

/// Reads, transforms and hands out the micro-batches of one rank in order, each prepared up to
/// `prefetch` batches ahead by one thread. Memory is prefetch + 1 batches of the sampler's
/// max_rows(); nothing is allocated after construction, but for one thread per begin().
///
/// Threads   all members are called by one thread. Between begin() and end() the loader's own
/// thread
///           calls source.read_rows(), with prefetch 0 the caller's.
class Loader {
 public:
  static constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();

  /// `source` outlives the loader. Random choices use the sampler's seed.
  /// Throws    InvalidArgument if the sampler's row count is not the source's or prefetch is out of
  ///           range; what Transform throws; OutOfMemory.
  /// `device`: to which batches are copied.
  Loader(RowSource& source, const Sampler& sampler, const TransformOptions& transforms,
         std::int64_t prefetch, Device device = {});
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  ~Loader();

  /// From here next() gives the micro-batches of (epoch, step), and all that follow up to the end
  /// of epoch `end_epoch` - 1. May be called at any time, also to go back; what was prepared is
  /// dropped.
  /// Throws    InvalidArgument for a position that does not exist.
  void begin(std::int64_t epoch, std::int64_t step = 0, std::int64_t end_epoch = kEndless);
  /// The next micro-batch; it stays valid until the next call of next(), begin() or end().
  /// Throws    InvalidArgument before begin() and after the last batch; what the source threw, at
  ///           the batch it was for and then at every call until begin().
  const Batch& next();
  /// Stops the thread; next() needs another begin().
  void end() noexcept;

  const Sampler& sampler() const noexcept { return sampler_; }
  const Transform& transform() const noexcept { return transform_; }
  /// Standard deviation of each target in the units of the data set; empty for classes.
  const std::vector<float>& target_std() const noexcept { return source_.info().target_std; }
  /// Logical shape of x for `rows` rows.
  Shape x_shape(std::int64_t rows) const;
  /// Time the caller has spent in next() since construction: what preparing ahead did not hide.
  double wait_seconds() const noexcept { return wait_seconds_; }

 private:
  struct Position {
    std::int64_t epoch = 0;
    std::int64_t step = 0;
    std::int64_t micro = 0;
  };
  struct Slot {
    PinnedBuffer x;
    PinnedBuffer y;
    Batch batch;
  };

  void prepare(Position at, Slot& slot);
  void read_x(Slot& slot);
  void advance(Position& at) const noexcept;
  void run(Position at, std::int64_t end_epoch);
  Slot& wait_for_slot();

  RowSource& source_;
  Sampler sampler_;
  Transform transform_;
  Range columns_;  // of a flattened sample
  bool is_cut_;    // kColumn: x is flat
  Stream host_{Device{}};
  Buffer stored_;  // x of a batch as the source gives it
  Buffer sample_;  // kColumn: one whole transformed sample
  std::vector<Slot> slots_;

  Position position_;  // of the next batch to prepare on the caller's thread
  std::int64_t end_epoch_ = 0;
  bool is_begun_ = false;
  double wait_seconds_ = 0.0;

  // Batch i of a run stands in slots_[i % slots_.size()]. The caller holds batch taken_ - 1, the
  // thread may fill up to batch taken_ - 1 + slots_.size(), so it never touches what the caller
  // holds.
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t prepared_ = 0;  // guarded by mutex_, as are all below
  std::int64_t taken_ = 0;
  bool is_holding_ = false;   // the caller still reads batch taken_ - 1
  bool is_finished_ = false;  // the thread prepares no more
  bool is_stopping_ = false;
  std::exception_ptr failure_;  // what stopped it, after batch prepared_ - 1
};

}  // namespace phalanx
