// SPDX-License-Identifier: Apache-2.0
#include "data/loader.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kRows = 23;

// Images of 2 x 3 x 4 bytes that all tell their row, with the row as class.
class ImageRows : public RowSource {
 public:
  explicit ImageRows(std::int64_t rows = kRows) : rows_(rows) {
    info_.kind = SampleKind::kImage;
    info_.sample = Shape{2, 3, 4};
    info_.x_dtype = DType::kU8;
    info_.classes = rows;
    info_.mean = {0.25f, 0.5f};
    info_.std = {0.5f, 0.25f};
  }
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return rows_; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
    ++reads;
    for (const std::int64_t row : rows) {
      if (row == bad_row) throw IoError("row cannot be read");
      for (int i = 0; i < 24; ++i) *x++ = static_cast<std::byte>(row * 5 + i);
      std::memcpy(y, &row, sizeof row);
      y += sizeof row;
    }
  }

  std::int64_t bad_row = -1;
  std::atomic<int> reads{0};

 private:
  DatasetInfo info_;
  std::int64_t rows_;
};

// Table rows (row, 10 row, 100 row, -row, 7) with targets (row, 2 row).
class TableRows : public RowSource {
 public:
  TableRows() {
    info_.sample = Shape{5};
    info_.target = TargetKind::kValues;
    info_.targets = 2;
    info_.mean.assign(5, 0.0f);
    info_.std.assign(5, 1.0f);
    info_.target_mean = {1.0f, 2.0f};
    info_.target_std = {2.0f, 4.0f};
  }
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return kRows; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
    for (const std::int64_t row : rows) {
      const auto v = static_cast<float>(row);
      const float values[] = {v, 10 * v, 100 * v, -v, 7.0f};
      const float targets[] = {v, 2 * v};
      std::memcpy(x, values, sizeof values);
      std::memcpy(y, targets, sizeof targets);
      x += sizeof values;
      y += sizeof targets;
    }
  }

 private:
  DatasetInfo info_;
};

SamplerOptions sampling(int rank = 0, int size = 1, Partition partition = Partition::kShuffle) {
  SamplerOptions o;
  o.rows = kRows;
  o.partition = partition;
  o.batch_size = 8;
  o.micro_batches = 2;
  o.rank = rank;
  o.size = size;
  o.seed = 3;
  return o;
}

TransformOptions augmented() {
  TransformOptions o;
  o.crop_padding = 1;
  o.flip = true;
  o.cutout = 2;
  return o;
}

std::vector<float> values(const ConstTensorView& x) {
  return {x.as<float>(), x.as<float>() + x.numel()};
}

// Every sample of one epoch over all ranks, by row.
std::map<std::int64_t, std::vector<float>> samples_of_epoch(int size, std::int64_t prefetch,
                                                            std::int64_t epoch) {
  std::map<std::int64_t, std::vector<float>> samples;
  for (int rank = 0; rank < size; ++rank) {
    ImageRows source;
    Loader loader(source, Sampler(sampling(rank, size)), augmented(), prefetch);
    loader.begin(epoch);
    for (std::int64_t i = 0; i < loader.sampler().steps_per_epoch() * 2; ++i) {
      const Batch& batch = loader.next();
      const auto x = values(batch.x);
      for (std::size_t r = 0; r < batch.slice.rows.size(); ++r)
        samples[batch.slice.rows[r]].assign(x.begin() + static_cast<std::ptrdiff_t>(24 * r),
                                            x.begin() + static_cast<std::ptrdiff_t>(24 * (r + 1)));
    }
  }
  return samples;
}

class LoaderAtDepth : public testing::TestWithParam<std::int64_t> {};
INSTANTIATE_TEST_SUITE_P(Prefetch, LoaderAtDepth, testing::Values(0, 1, 3));

TEST_P(LoaderAtDepth, GivesTheSlicesOfTheSamplerInOrder) {
  ImageRows source;
  const Sampler sampler(sampling(1, 3));
  Loader loader(source, sampler, {}, GetParam());
  loader.begin(0);
  BatchSlice expected;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch)
    for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step)
      for (std::int64_t micro = 0; micro < 2; ++micro) {
        const Batch& batch = loader.next();
        sampler.slice(epoch, step, micro, expected);
        EXPECT_EQ(batch.slice.epoch, epoch);
        EXPECT_EQ(batch.slice.step, step);
        EXPECT_EQ(batch.slice.micro, micro);
        EXPECT_EQ(batch.slice.rows, expected.rows);
        EXPECT_EQ(batch.slice.first_row, expected.first_row);
        EXPECT_EQ(batch.slice.global_rows, expected.global_rows);
        const auto rows = static_cast<std::int64_t>(expected.rows.size());
        EXPECT_EQ(batch.x.type, TensorType(DType::kF32, Shape{rows, 2, 3, 4}));
        EXPECT_EQ(batch.y.type, TensorType(DType::kI64, Shape{rows}));
        for (std::int64_t r = 0; r < rows; ++r)
          EXPECT_EQ(batch.y.as<std::int64_t>()[r], expected.rows[r]);
      }
}

TEST_P(LoaderAtDepth, GivesNormalisedPixels) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), {}, GetParam());
  loader.begin(0);
  for (int n = 0; n < 6; ++n) {
    const Batch& batch = loader.next();
    const auto x = values(batch.x);
    for (std::size_t r = 0; r < batch.slice.rows.size(); ++r)
      for (int i = 0; i < 24; ++i) {
        const double v = static_cast<double>((batch.slice.rows[r] * 5 + i) % 256) / 255.0;
        EXPECT_NEAR(x[24 * r + i], i < 12 ? (v - 0.25) / 0.5 : (v - 0.5) / 0.25, 1e-6);
      }
  }
}

TEST_P(LoaderAtDepth, ResumesWithTheSampleThatWouldHaveFollowed) {
  ImageRows source;
  Loader whole(source, Sampler(sampling()), augmented(), 0);
  Loader resumed(source, Sampler(sampling()), augmented(), GetParam());
  whole.begin(0);
  for (int n = 0; n < 8; ++n) whole.next();  // one epoch of three steps of two, and a step
  resumed.begin(4, 2);
  resumed.next();
  resumed.begin(1, 1);
  for (int n = 0; n < 10; ++n) {
    const Batch& expected = whole.next();
    const Batch& found = resumed.next();
    EXPECT_EQ(found.slice.epoch, expected.slice.epoch);
    EXPECT_EQ(found.slice.rows, expected.slice.rows);
    EXPECT_EQ(values(found.x), values(expected.x));
  }
}

TEST_P(LoaderAtDepth, EndsAfterTheLastEpoch) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), {}, GetParam());
  loader.begin(1, 2, 3);
  for (int n = 0; n < 8; ++n) EXPECT_NO_THROW(loader.next());
  EXPECT_THROW(loader.next(), InvalidArgument);
  EXPECT_THROW(loader.next(), InvalidArgument);
  loader.begin(0, 0, 1);
  EXPECT_EQ(loader.next().slice.epoch, 0);
}

TEST_P(LoaderAtDepth, ThrowsWhatTheSourceThrewAtTheBatchItWasFor) {
  ImageRows source;
  const Sampler sampler(sampling());
  BatchSlice second;
  sampler.slice(0, 0, 1, second);
  source.bad_row = second.rows[0];
  Loader loader(source, sampler, {}, GetParam());
  loader.begin(0);
  EXPECT_NO_THROW(loader.next());
  EXPECT_THROW(loader.next(), IoError);
  EXPECT_THROW(loader.next(), IoError);
  loader.begin(0, 1);
  EXPECT_EQ(loader.next().slice.step, 1);
}

TEST_P(LoaderAtDepth, NeedsBegin) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), {}, GetParam());
  EXPECT_THROW(loader.next(), InvalidArgument);
  loader.begin(0);
  loader.end();
  EXPECT_THROW(loader.next(), InvalidArgument);
}

TEST_P(LoaderAtDepth, ReadsNothingForEmptySlices) {
  ImageRows source(2);
  SamplerOptions o = sampling(5, 6);
  o.rows = 2;
  Loader loader(source, Sampler(o), {}, GetParam());
  loader.begin(0, 0, 2);
  for (int n = 0; n < 4; ++n) {
    const Batch& batch = loader.next();
    EXPECT_TRUE(batch.slice.is_empty());
    EXPECT_EQ(batch.slice.global_rows, 2);
    EXPECT_EQ(batch.x.shape(), (Shape{0, 2, 3, 4}));
  }
  EXPECT_EQ(source.reads, 0);
}

TEST_P(LoaderAtDepth, ReusesItsBuffers) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), {}, GetParam());
  loader.begin(0);
  std::map<const void*, int> memory;
  for (int n = 0; n < 24; ++n) ++memory[loader.next().x.data];
  EXPECT_EQ(memory.size(), static_cast<std::size_t>(GetParam() + 1));
}

TEST(Loader, SamplesDoNotDependOnRanksOrPrefetchDepth) {
  const auto expected = samples_of_epoch(1, 0, 2);
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kRows));
  for (const int size : {2, 3, 4})
    for (const std::int64_t prefetch : {0, 2})
      EXPECT_EQ(samples_of_epoch(size, prefetch, 2), expected)
          << size << " ranks, prefetch " << prefetch;
  EXPECT_NE(samples_of_epoch(1, 0, 3), expected);
}

TEST(Loader, PreparesAheadAndNoFurtherThanItsRing) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), {}, 3);
  loader.begin(0);
  loader.next();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (source.reads < 4 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(source.reads, 4);  // the batch that is held and three more
}

TEST(Loader, KeepsABatchUntilTheNextCall) {
  ImageRows source;
  Loader loader(source, Sampler(sampling()), augmented(), 1);
  loader.begin(0);
  for (int n = 0; n < 50; ++n) {
    const Batch& batch = loader.next();
    const auto before = values(batch.x);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    EXPECT_EQ(values(batch.x), before);
  }
}

TEST(Loader, StopsWithAFullRing) {
  ImageRows source;
  {
    Loader loader(source, Sampler(sampling()), {}, 2);
    loader.begin(0);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (source.reads < 3 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(source.reads, 3);
}

TEST(Loader, StopsAtOnceAfterBegin) {
  ImageRows source;
  for (int n = 0; n < 100; ++n) {
    Loader loader(source, Sampler(sampling()), {}, 2);
    loader.begin(0);
  }
}

TEST(Loader, CutsTheColumnsOfTables) {
  TableRows source;
  std::int64_t begin = 0;
  for (int rank = 0; rank < 3; ++rank) {
    Loader loader(source, Sampler(sampling(rank, 3, Partition::kColumn)), {}, 1);
    loader.begin(0);
    const Batch& batch = loader.next();
    const auto rows = static_cast<std::int64_t>(batch.slice.rows.size());
    ASSERT_EQ(rows, 4);
    const std::int64_t width = rank < 2 ? 2 : 1;
    EXPECT_EQ(batch.x.shape(), (Shape{rows, width}));
    EXPECT_EQ(loader.x_shape(7), (Shape{7, width}));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = 0; i < width; ++i) {
        const auto v = static_cast<float>(batch.slice.rows[r]);
        const float expected[] = {v, 10 * v, 100 * v, -v, 7.0f};
        EXPECT_EQ(batch.x.as<float>()[r * width + i], expected[begin + i]);
      }
    begin += width;
  }
}

TEST(Loader, CutsTheColumnsOfFlattenedAugmentedImages) {
  ImageRows source;
  Loader whole(source, Sampler(sampling()), augmented(), 0);
  whole.begin(0);
  const Batch& expected = whole.next();
  for (int rank = 0; rank < 5; ++rank) {
    Loader loader(source, Sampler(sampling(rank, 5, Partition::kColumn)), augmented(), 0);
    loader.begin(0);
    const Batch& batch = loader.next();
    const Range range = columns(24, rank, 5);
    ASSERT_EQ(batch.slice.rows, expected.slice.rows);
    ASSERT_EQ(batch.x.shape(), (Shape{4, range.size()}));
    for (std::int64_t r = 0; r < 4; ++r)
      for (std::int64_t i = range.begin; i < range.end; ++i)
        EXPECT_EQ(batch.x.as<float>()[r * range.size() + i - range.begin],
                  expected.x.as<float>()[24 * r + i]);
  }
}

TEST(Loader, StandardisesTargets) {
  TableRows source;
  Loader loader(source, Sampler(sampling()), {}, 1);
  loader.begin(0);
  const Batch& batch = loader.next();
  EXPECT_EQ(batch.y.type, TensorType(DType::kF32, Shape{4, 2}));
  for (int r = 0; r < 4; ++r) {
    const auto v = static_cast<float>(batch.slice.rows[r]);
    EXPECT_FLOAT_EQ(batch.y.as<float>()[2 * r], (v - 1) / 2);
    EXPECT_FLOAT_EQ(batch.y.as<float>()[2 * r + 1], (2 * v - 2) / 4);
  }
}

TEST(Loader, CountsTheTimeItKeepsTheCallerWaiting) {
  class SlowRows : public ImageRows {
   public:
    void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ImageRows::read_rows(rows, x, y);
    }
  } source;
  Loader loader(source, Sampler(sampling()), {}, 0);
  EXPECT_EQ(loader.wait_seconds(), 0.0);
  loader.begin(0);
  loader.next();
  loader.next();
  EXPECT_GE(loader.wait_seconds(), 0.04);
}

TEST(Loader, RefusesWhatDoesNotFit) {
  ImageRows source;
  EXPECT_THROW(Loader(source, Sampler(sampling()), {}, -1), InvalidArgument);
  SamplerOptions o = sampling();
  o.rows = kRows + 1;
  EXPECT_THROW(Loader(source, Sampler(o), {}, 0), InvalidArgument);
  Loader loader(source, Sampler(sampling()), {}, 0);
  EXPECT_THROW(loader.begin(-1), InvalidArgument);
  EXPECT_THROW(loader.begin(0, 3), InvalidArgument);
  EXPECT_THROW(loader.begin(2, 0, 2), InvalidArgument);
  EXPECT_THROW(loader.next(), InvalidArgument);
}

}  // namespace
}  // namespace phalanx
