// SPDX-License-Identifier: Apache-2.0
#include "formats/checkpoint_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <thread>

#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::int64_t kElements = 100'000;

class CheckpointWriterTest : public ::testing::Test {
 protected:
  CheckpointWriterTest() { fs::remove_all(root_); }
  ~CheckpointWriterTest() override { fs::remove_all(root_); }

  /// A state in which every element is `value`.
  void fill(float value) {
    weights_.assign(kElements, value);
    statistics_.assign(kElements, value);
  }
  CheckpointContent content(std::int64_t step) {
    const TensorType type{DType::kF32, Shape{kElements}};
    return {.step = step,
            .is_numbered = true,
            .run = std::to_string(step),
            .entries = {{"/parameters/w", {weights_.data(), type}},
                        {"/states/s", {statistics_.data(), type}, true}}};
  }
  void expect_holds(const std::string& path, float value) const {
    const Checkpoint checkpoint = Checkpoint::read(path);
    ASSERT_EQ(checkpoint.arrays().size(), 2u);
    for (const Checkpoint::Array& array : checkpoint.arrays())
      EXPECT_THAT(array.values, Each(value)) << array.path;
  }
  static std::string bytes_of(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }

  const std::string root_ =
      (fs::temp_directory_path() /
       (std::string("writer_") + ::testing::UnitTest::GetInstance()->current_test_info()->name()))
          .string();
  const CheckpointFolder folder_{root_ + "/checkpoints"};
  std::vector<float> weights_, statistics_;
};

TEST_F(CheckpointWriterTest, WritesWhatTheArraysHeldWhenSaveWasCalled) {
  CheckpointWriter writer(folder_, {});
  fill(1);
  writer.save(content(7));
  statistics_.assign(kElements, 2);  // as a forward pass does
  writer.wait_until_copied();
  weights_.assign(kElements, 2);  // as an update does
  EXPECT_TRUE(writer.finish_within(60));
  expect_holds(folder_.path_of_step(7), 1);
}

TEST_F(CheckpointWriterTest, SavesEveryStepOfATrainingWhileOthersReadFiles) {
  fill(0);
  CheckpointWriter writer(folder_, {.keep = 100});
  writer.reserve(content(0).entries);
  writer.save(content(0));
  EXPECT_TRUE(writer.finish_within(60));
  std::atomic<bool> ends = false;
  std::thread reader([&] {  // another user of the HDF5 library, as a loader is
    while (!ends) expect_holds(folder_.path_of_step(0), 0);
  });
  for (std::int64_t step = 1; step <= 12; ++step) {
    statistics_.assign(kElements, static_cast<float>(step));
    EXPECT_EQ(std::accumulate(weights_.begin(), weights_.end(), 0.0),
              static_cast<double>(kElements * (step - 1)));  // read while they are copied
    writer.wait_until_copied();
    weights_.assign(kElements, static_cast<float>(step));
    writer.save(content(step));
  }
  EXPECT_TRUE(writer.finish_within(60));
  ends = true;
  reader.join();
  for (std::int64_t step = 0; step <= 12; ++step)
    expect_holds(folder_.path_of_step(step), static_cast<float>(step));
}

TEST_F(CheckpointWriterTest, FinishesTheCheckpointInWorkWhenItIsDestroyed) {
  fill(3);
  { CheckpointWriter(folder_, {}).save(content(5)); }
  expect_holds(folder_.path_of_step(5), 3);
}

TEST_F(CheckpointWriterTest, WithoutAThreadHasWrittenWhenSaveReturns) {
  fill(4);
  CheckpointWriter writer(folder_, {.has_thread = false});
  writer.save(content(5));
  expect_holds(folder_.path_of_step(5), 4);
  writer.wait_until_copied();
  EXPECT_TRUE(writer.finish_within(60));
}

TEST_F(CheckpointWriterTest, WritesTheSameBytesWithAndWithoutAThread) {
  fill(4);
  CheckpointWriter(folder_, {.has_thread = false}).save(content(5));
  const std::string expected = bytes_of(folder_.path_of_step(5));
  fs::remove(folder_.path_of_step(5));
  { CheckpointWriter(folder_, {}).save(content(5)); }
  EXPECT_EQ(bytes_of(folder_.path_of_step(5)), expected);
}

TEST_F(CheckpointWriterTest, WritesTheNamesThatAreAskedForAndKeepsTheNewest) {
  fill(1);
  CheckpointWriter writer(folder_, {.keep = 2});
  for (std::int64_t step = 1; step <= 5; ++step) {
    CheckpointContent c = content(step);
    c.is_best = step == 3;
    c.is_numbered = step != 5;
    writer.save(std::move(c));
  }
  EXPECT_TRUE(writer.finish_within(60));
  EXPECT_EQ(Checkpoint::read(folder_.best_path()).run(), "3");
  ASSERT_EQ(folder_.list().size(), 2u);
  EXPECT_EQ(folder_.list()[0].first, 4);
  EXPECT_EQ(folder_.list()[1].first, 3);
}

TEST_F(CheckpointWriterTest, ReportsAFailureOnceAtTheNextCall) {
  std::ofstream{root_} << "a file where the folder should be";
  fill(1);
  CheckpointWriter writer(folder_, {});
  const auto expect_failure = [&](auto&& call) {
    try {
      call();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const IoError& e) {
      EXPECT_THAT(e.what(), HasSubstr(root_ + "/checkpoints: cannot create the folder"));
    }
  };
  writer.save(content(1));
  expect_failure([&] { (void)writer.finish_within(60); });
  EXPECT_TRUE(writer.finish_within(60));
  writer.save(content(2));
  expect_failure([&] { writer.save(content(3)); });
  fs::remove(root_);
  writer.save(content(4));
  EXPECT_TRUE(writer.finish_within(60));
  expect_holds(folder_.path_of_step(4), 1);
}

TEST_F(CheckpointWriterTest, LogsAFailureThatNobodyAskedFor) {
  std::ofstream{root_} << "a file where the folder should be";
  fill(1);
  configure_log(LogLevel::kInfo, 0, 1);
  ::testing::internal::CaptureStderr();
  { CheckpointWriter(folder_, {}).save(content(1)); }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("cannot create the folder"));
}

}  // namespace
}  // namespace phalanx
