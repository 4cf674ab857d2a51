// SPDX-License-Identifier: Apache-2.0
#include "formats/checkpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() { fs::create_directories(folder_); }
  ~CheckpointTest() override { fs::remove_all(folder_); }

  std::string write(std::int64_t step, const std::string& run = "{\"a\": 1}") {
    const std::string path = CheckpointFolder(folder_).path_of_step(step);
    write_checkpoint(path, run,
                     {{"/parameters/w", {values_.data(), {DType::kF32, Shape{2, 3}}}},
                      {"/states/s", {values_.data(), {DType::kF32, Shape{1}}}},
                      {"/optimizer/momentum/w", {values_.data() + 1, {DType::kF32, Shape{5}}}}});
    return path;
  }
  static std::string read_bytes(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  static void write_bytes(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }
  static std::string refusal(const std::string& path) {
    try {
      Checkpoint::read(path);
    } catch (const InvalidInput& e) {
      return e.what();
    }
    return "accepted";
  }

  std::string folder_ = (fs::temp_directory_path() /
                         fs::path(::testing::UnitTest::GetInstance()->current_test_info()->name()))
                            .string();
  std::vector<float> values_{1, 2, 3, 4, 5, 6};
};

TEST_F(CheckpointTest, GivesBackWhatWasWritten) {
  const Checkpoint checkpoint = Checkpoint::read(write(7));
  EXPECT_EQ(checkpoint.run(), "{\"a\": 1}");
  ASSERT_EQ(checkpoint.arrays().size(), 3u);
  std::vector<float> w(6);
  checkpoint.load("/parameters/w", {w.data(), {DType::kF32, Shape{2, 3}}});
  EXPECT_EQ(w, values_);
  std::vector<float> m(5);
  checkpoint.load("/optimizer/momentum/w", {m.data(), {DType::kF32, Shape{5}}});
  EXPECT_EQ(m, (std::vector<float>{2, 3, 4, 5, 6}));
}

TEST_F(CheckpointTest, HasEqualBytesForEqualContent) {
  EXPECT_EQ(read_bytes(write(1)), read_bytes(write(2)));
}

TEST_F(CheckpointTest, IsRefusedWithAnyByteFlipped) {
  const std::string path = write(1), whole = read_bytes(path);
  for (std::size_t at = 0; at < whole.size(); at += 1 + whole.size() / 300) {
    if (at < 512 && whole[at] == '\0') continue;  // the unused rest of the seal
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_bytes(path, damaged);
    EXPECT_NE(refusal(path), "accepted") << "byte " << at;
  }
}

TEST_F(CheckpointTest, IsRefusedAtAnyLength) {
  const std::string path = write(1), whole = read_bytes(path);
  for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 100) {
    write_bytes(path, whole.substr(0, size));
    EXPECT_THAT(refusal(path), HasSubstr(path)) << "length " << size;
  }
}

TEST_F(CheckpointTest, OfAnotherModelIsRefusedWithBothShapes) {
  const Checkpoint checkpoint = Checkpoint::read(write(1));
  std::vector<float> w(6);
  try {
    checkpoint.load("/parameters/w", {w.data(), {DType::kF32, Shape{3, 2}}});
    FAIL() << "accepted";
  } catch (const InvalidInput& e) {
    EXPECT_THAT(e.what(),
                AllOf(HasSubstr("[2, 3]"), HasSubstr("[3, 2]"), HasSubstr("another model")));
  }
  EXPECT_THROW(checkpoint.load("/parameters/other", {w.data(), {DType::kF32, Shape{6}}}),
               InvalidInput);
}

TEST_F(CheckpointTest, FolderOffersTheNewestThatIsWhole) {
  write(10, "\"ten\"");
  write(20, "\"twenty\"");
  const std::string newest = write(30, "\"thirty\"");
  const CheckpointFolder folder(folder_);
  EXPECT_EQ(folder.newest()->run(), "\"thirty\"");
  write_bytes(newest, read_bytes(newest).substr(0, 900));
  EXPECT_EQ(folder.newest()->run(), "\"twenty\"");
  for (const auto& [step, path] : folder.list()) write_bytes(path, "nothing");
  EXPECT_THROW((void)folder.newest(), InvalidInput);
  EXPECT_FALSE(CheckpointFolder(folder_ + "/empty").newest().has_value());
}

TEST_F(CheckpointTest, FolderKeepsTheNewest) {
  for (std::int64_t step : {5, 15, 25, 35}) write(step);
  const CheckpointFolder folder(folder_);
  folder.prune(2, 35);
  ASSERT_EQ(folder.list().size(), 2u);
  EXPECT_EQ(folder.list()[0].first, 35);
  EXPECT_EQ(folder.list()[1].first, 25);
}

}  // namespace
}  // namespace phalanx
