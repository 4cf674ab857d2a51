// SPDX-License-Identifier: Apache-2.0
#include "train/tensorboard.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/error.hpp"

namespace phalanx {
namespace {

using Scalar = std::pair<std::string_view, double>;

template <class T>
T little_endian(std::string_view bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// The payloads of the records of a file; every sum is checked.
std::vector<std::string> read_records(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string bytes = text.str();
  std::string_view rest = bytes;
  std::vector<std::string> payloads;
  while (!rest.empty()) {
    if (rest.size() < 16) {
      ADD_FAILURE() << "a record ends early";
      break;
    }
    const auto length = little_endian<std::uint64_t>(rest);
    EXPECT_EQ(little_endian<std::uint32_t>(rest.substr(8)), masked_crc32c(rest.substr(0, 8)));
    if (length > rest.size() - 16) {
      ADD_FAILURE() << "a record is longer than its file";
      break;
    }
    const std::string_view payload = rest.substr(12, length);
    EXPECT_EQ(little_endian<std::uint32_t>(rest.substr(12 + length)), masked_crc32c(payload));
    payloads.emplace_back(payload);
    rest.remove_prefix(16 + length);
  }
  return payloads;
}

class TensorBoardTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tensorboard_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST(Crc32c, EqualsTheVectorsOfRfc3720) {
  std::string rising;
  std::string falling;
  for (char c = 0; c < 32; ++c) {
    rising += c;
    falling += static_cast<char>(31 - c);
  }
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43U);
  EXPECT_EQ(crc32c(rising), 0x46DD794EU);
  EXPECT_EQ(crc32c(falling), 0x113FDB5CU);
  constexpr std::array<unsigned char, 48> kReadCommand = {
      0x01, 0xC0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
      0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(crc32c({reinterpret_cast<const char*>(kReadCommand.data()), kReadCommand.size()}),
            0xD9963A56U);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(""), 0U);
}

TEST(TfRecord, FramesAPayloadWithMaskedSums) {
  const std::string record = tfrecord("abc");
  ASSERT_EQ(record.size(), 8U + 4 + 3 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\3\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 3), "abc");
  // The mask undone gives the plain sum again.
  const std::uint32_t turned = little_endian<std::uint32_t>(record.substr(15)) - 0xa282ead8U;
  EXPECT_EQ((turned << 15) | (turned >> 17), crc32c("abc"));
}

TEST_F(TensorBoardTest, TheFirstRecordHasTheFileVersion) {
  const TensorBoardWriter writer(folder_, std::nullopt, 1700000000);
  const auto records = read_records(writer.path());
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0], std::string("\x09") + std::string("\0\0\0\x40\xFC\x54\xD9\x41", 8) +
                            std::string("\x10\0", 2) + "\x1A\x0D" + "brain.Event:2");
  EXPECT_EQ(std::filesystem::path(writer.path())
                .filename()
                .string()
                .rfind("events.out.tfevents.1700000000.", 0),
            0U);
}

TEST_F(TensorBoardTest, AnEventHoldsStepTimeTagsAndValues) {
  TensorBoardWriter writer(folder_);
  writer.write(300, 1.0, std::array{Scalar{"a", 1.0}, Scalar{"bc", -2.0}});
  const auto records = read_records(writer.path());
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1], std::string("\x09\0\0\0\0\0\0\xF0\x3F", 9) + "\x10\xAC\x02" + "\x2A\x15" +
                            std::string("\x0A\x08\x0A\x01"
                                        "a\x15\0\0\x80\x3F",
                                        10) +
                            std::string("\x0A\x09\x0A\x02"
                                        "bc\x15\0\0\0\xC0",
                                        11));
}

TEST_F(TensorBoardTest, AResumedRunStartsASessionAtItsStep) {
  const TensorBoardWriter writer(folder_, 5);
  const auto records = read_records(writer.path());
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].substr(9), "\x10\x05\x3A\x02\x08\x01");
}

TEST_F(TensorBoardTest, TwoWritersOfTheSameSecondHaveTwoFiles) {
  const TensorBoardWriter first(folder_, std::nullopt, 1700000000);
  const TensorBoardWriter second(folder_, std::nullopt, 1700000000);
  EXPECT_NE(first.path(), second.path());
  EXPECT_EQ(read_records(first.path()).size(), 1U);
}

TEST_F(TensorBoardTest, AFolderThatCannotBeMadeIsAnIoError) {
  EXPECT_THROW(TensorBoardWriter("/proc/no_such_folder"), IoError);
}

// The same numbers stand in tests/integration/check_tensorboard.py, which sets the variable and
// reads the files back with TensorBoard itself.
TEST_F(TensorBoardTest, WritesTheFilesThatTheIntegrationCheckReads) {
  const char* kept = std::getenv("PHALANX_TENSORBOARD_FOLDER");
  const std::string folder = kept != nullptr ? kept : folder_;
  constexpr double kStart = 1700000000.25;
  {
    TensorBoardWriter writer(folder, std::nullopt, 1700000000);
    for (int step = 1; step <= 6; ++step)
      writer.write(
          step * 100, kStart + step,
          std::array{Scalar{"loss/train", 1.0 / step}, Scalar{"accuracy/train", 0.1 * step}});
    writer.write(700, kStart + 7, std::array{Scalar{"loss/train", std::nan("")}});
  }
  TensorBoardWriter resumed(folder, 500, 1700000100);
  resumed.write(500, kStart + 100, std::array{Scalar{"loss/train", 42.0}});
  resumed.write(std::int64_t{1} << 40, kStart + 101, std::array{Scalar{"loss/train", HUGE_VAL}});
  EXPECT_EQ(read_records(resumed.path()).size(), 4U);
}

}  // namespace
}  // namespace phalanx
