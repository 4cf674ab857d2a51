// SPDX-License-Identifier: Apache-2.0
#include "train/metrics_log.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.hpp"

namespace phalanx {
namespace {

class MetricsLogTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "metrics_log_" +
            testing::UnitTest::GetInstance()->current_test_info()->name() + ".jsonl";
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string content() const {
    std::stringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }
  void append(std::string_view text) const { std::ofstream(path_, std::ios::app) << text; }
  void write_steps(std::initializer_list<int> steps) const {
    MetricsLog log(path_);
    for (const int step : steps)
      log.write(step, step * 0.5, "train", std::array{Metric{"loss", 1}});
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> found;
    for (const MetricsLine& line : read_metrics(path_)) found.push_back(line.step);
    return found;
  }

  std::string path_;
};

using Steps = std::vector<std::int64_t>;

TEST_F(MetricsLogTest, EveryLineIsOneObjectWithItsFieldsInOrder) {
  MetricsLog log(path_);
  log.write(50, 0.5, "train", std::array{Metric{"loss", 0.25}, Metric{"accuracy", 1}});
  EXPECT_EQ(content(),
            "{\"step\":50,\"epoch\":0.5,\"split\":\"train\",\"loss\":0.25,\"accuracy\":1.0}\n");
}

TEST_F(MetricsLogTest, AValueThatIsNotFiniteIsNullWithAText) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  MetricsLog log(path_);
  log.write(
      1, 0, "train",
      std::array{Metric{"loss", std::nan("")}, Metric{"a", kInfinity}, Metric{"b", -kInfinity}});
  const auto json = nlohmann::json::parse(content());
  EXPECT_TRUE(json.at("loss").is_null());
  EXPECT_EQ(json.at("loss_text"), "nan");
  EXPECT_EQ(json.at("a_text"), "inf");
  EXPECT_EQ(json.at("b_text"), "-inf");

  const MetricsLine line = read_metrics(path_).at(0);
  EXPECT_TRUE(std::isnan(line.value("loss").value()));
  EXPECT_EQ(line.value("a"), kInfinity);
  EXPECT_EQ(line.value("b"), -kInfinity);
}

TEST_F(MetricsLogTest, DoublesReadBackBitByBit) {
  const std::array<Metric, 3> values{Metric{"x", 0.1 + 0.2}, {"y", 5e-324}, {"z", -1.0 / 3.0}};
  MetricsLog log(path_);
  log.write(std::numeric_limits<std::int64_t>::max(), 1.0 / 3.0, "test", values);
  const MetricsLine line = read_metrics(path_).at(0);
  EXPECT_EQ(line.step, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(line.epoch, 1.0 / 3.0);
  EXPECT_EQ(line.split, "test");
  for (const auto& [name, value] : values)
    EXPECT_EQ(std::bit_cast<std::uint64_t>(line.value(name).value()),
              std::bit_cast<std::uint64_t>(value));
  EXPECT_FALSE(line.value("loss").has_value());
}

TEST_F(MetricsLogTest, ANewLogReplacesAnOldFile) {
  write_steps({1, 2, 3});
  write_steps({4});
  EXPECT_EQ(steps(), Steps{4});
}

TEST_F(MetricsLogTest, AResumedLogDropsLinesOfLaterStepsAndGoesOn) {
  write_steps({1, 2, 2, 3, 4});
  {
    MetricsLog log(path_, 2);
    log.write(3, 9, "train", {});
  }
  EXPECT_EQ(steps(), (Steps{1, 2, 2, 3}));
  EXPECT_EQ(read_metrics(path_).back().epoch, 9);
}

TEST_F(MetricsLogTest, AResumedLogKeepsEverythingUpToItsStep) {
  write_steps({1, 2});
  const std::string before = content();
  MetricsLog log(path_, 7);
  EXPECT_EQ(content(), before);
  MetricsLog none(path_, 0);
  EXPECT_EQ(content(), "");
}

TEST_F(MetricsLogTest, AResumedLogStartsAFileThatIsMissing) {
  MetricsLog log(path_, 5);
  log.write(6, 0, "train", {});
  EXPECT_EQ(steps(), Steps{6});
}

TEST_F(MetricsLogTest, AnUnfinishedLastLineIsCutOff) {
  write_steps({1, 2});
  append("{\"step\":2,\"epo");
  EXPECT_EQ(steps(), (Steps{1, 2}));
  {
    MetricsLog log(path_, 2);
    log.write(3, 0, "train", {});
  }
  EXPECT_EQ(steps(), (Steps{1, 2, 3}));
}

TEST_F(MetricsLogTest, ABrokenLineIsRefusedWithItsNumber) {
  for (const char* broken :
       {"not json\n", "{\"step\":2}\n", "{\"step\":\"x\",\"epoch\":1}\n", "[]\n"}) {
    write_steps({1});
    append(broken);
    append("{\"step\":3,\"epoch\":1,\"split\":\"train\"}\n");
    try {
      MetricsLog log(path_, 9);
      FAIL() << broken;
    } catch (const InvalidInput& e) {
      EXPECT_NE(std::string(e.what()).find(path_ + ":2:"), std::string::npos) << e.what();
    }
  }
}

TEST_F(MetricsLogTest, ANameThatOccursTwiceIsRefused) {
  MetricsLog log(path_);
  EXPECT_THROW(log.write(1, 0, "train", std::array{Metric{"step", 1}}), InvalidArgument);
  EXPECT_THROW(log.write(1, 0, "train", std::array{Metric{"a", 1}, Metric{"a", 1}}),
               InvalidArgument);
  EXPECT_EQ(content(), "");
}

TEST_F(MetricsLogTest, ASplitNameThatIsNotUtf8StillGivesValidJson) {
  MetricsLog log(path_);
  log.write(1, 0, "a\xff\"\n", {});
  EXPECT_TRUE(nlohmann::json::accept(content())) << content();
}

TEST_F(MetricsLogTest, FilesThatCannotBeWrittenAreIoErrors) {
  EXPECT_THROW(MetricsLog("/proc/no_such_folder/metrics.jsonl"), IoError);
  EXPECT_THROW(read_metrics(path_), IoError);
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  MetricsLog full("/dev/full");
  EXPECT_THROW(full.write(1, 0, "train", {}), IoError);
}

}  // namespace
}  // namespace phalanx
