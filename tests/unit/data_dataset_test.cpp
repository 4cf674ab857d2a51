// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "core/rng.hpp"
#include "data/dataset.hpp"
#include "data_testing.hpp"
#include "formats/h5.hpp"

namespace phalanx {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

constexpr std::int64_t kRows = 103;
constexpr std::int64_t kFeatures = 5;

float value_at(std::int64_t row, std::int64_t column) {
  return static_cast<float>(row * 10 + column);
}

// What a test changes about an otherwise sound data set.
struct Changes {
  std::int64_t y_rows = kRows;
  std::int64_t bad_label_row = -1;
  std::int64_t chunk_rows = 8;
  std::size_t statistics = kFeatures;
  const char* format = "phalanx.dataset";
  int version = 1;
  const char* target = "class";
  bool with_y = true;
};

void write_dataset(const std::string& path, const Changes& changes = {}) {
  h5::File file = h5::File::create(path);
  file.write_attribute("format", changes.format);
  file.write_attribute("version", changes.version);
  file.write_attribute("kind", "table");
  file.write_attribute("target", changes.target);
  file.write_attribute("class_names", std::vector<std::string>{"no", "yes", "perhaps"});
  file.write_attribute("feature_names", std::vector<std::string>{});
  file.write_attribute("target_names", std::vector<std::string>{});
  file.write_attribute("mean", std::vector<double>(changes.statistics, 0.5));
  file.write_attribute("std", std::vector<double>(changes.statistics, 2.0));
  file.write_attribute("content_sha256", "0123");
  std::vector<float> x;
  for (std::int64_t row = 0; row < kRows; ++row)
    for (std::int64_t column = 0; column < kFeatures; ++column) x.push_back(value_at(row, column));
  std::vector<std::int64_t> y(static_cast<std::size_t>(changes.y_rows));
  for (std::size_t row = 0; row < y.size(); ++row) y[row] = static_cast<std::int64_t>(row % 3);
  if (changes.bad_label_row >= 0) y[static_cast<std::size_t>(changes.bad_label_row)] = 3;
  file.create_group("train");
  file.create_dataset("train/x", DType::kF32, {kRows, kFeatures},
                      {.chunk_rows = changes.chunk_rows})
      .write(x.data());
  if (changes.with_y) file.create_dataset("train/y", DType::kI64, {changes.y_rows}).write(y.data());
  file.close();
}

void expect_rows(Dataset& data, const std::vector<std::int64_t>& rows) {
  std::vector<float> x(rows.size() * kFeatures);
  std::vector<std::int64_t> y(rows.size());
  data.read_rows(rows, reinterpret_cast<std::byte*>(x.data()),
                 reinterpret_cast<std::byte*>(y.data()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(y[i], rows[i] % 3);
    for (std::int64_t c = 0; c < kFeatures; ++c)
      EXPECT_EQ(x[i * kFeatures + static_cast<std::size_t>(c)], value_at(rows[i], c));
  }
}

TEST(Dataset, DescribesItself) {
  const TemporaryFolder folder;
  write_dataset(folder.path("a.h5"));
  const Dataset data(folder.path("a.h5"), "train");
  EXPECT_EQ(data.size(), kRows);
  EXPECT_EQ(data.info().sample, (Shape{kFeatures}));
  EXPECT_EQ(data.info().x_dtype, DType::kF32);
  EXPECT_EQ(data.info().classes, 3);
  EXPECT_EQ(data.info().std, std::vector<float>(kFeatures, 2.0f));
  EXPECT_EQ(data.info().content_sha256, "0123");
  EXPECT_EQ(dataset_splits(folder.path("a.h5")), (std::vector<std::string>{"train"}));
  EXPECT_EQ(read_dataset_info(folder.path("a.h5")).class_names, data.info().class_names);
}

TEST(Dataset, GivesTheSameRowsFromMemoryAndFromBlocks) {
  const TemporaryFolder folder;
  for (const std::int64_t chunk_rows : {0, 1, 8, 103, 200}) {
    write_dataset(folder.path("a.h5"), {.chunk_rows = std::min(chunk_rows, kRows)});
    for (const std::size_t cache : {std::size_t{0}, std::size_t{500}, std::size_t{1} << 20}) {
      Dataset data(folder.path("a.h5"), "train", cache);
      EXPECT_EQ(data.in_memory(), cache > 10000);
      const Permutation order(kRows, 7, 0);
      std::vector<std::int64_t> rows;
      for (std::uint64_t i = 0; i < kRows; ++i) rows.push_back(static_cast<std::int64_t>(order(i)));
      expect_rows(data, rows);
      expect_rows(data, {51});
      expect_rows(data, {102, 0, 0, 51, 102});
      expect_rows(data, {});
    }
  }
}

TEST(Dataset, ReadsARangeAcrossBlocks) {
  const TemporaryFolder folder;
  write_dataset(folder.path("a.h5"));
  Dataset data(folder.path("a.h5"), "train", 100);
  std::vector<float> x(40 * kFeatures);
  std::vector<std::int64_t> y(40);
  data.read_range(5, 45, reinterpret_cast<std::byte*>(x.data()),
                  reinterpret_cast<std::byte*>(y.data()));
  EXPECT_EQ(x.front(), value_at(5, 0));
  EXPECT_EQ(x.back(), value_at(44, kFeatures - 1));
  EXPECT_EQ(y.back(), 44 % 3);
  EXPECT_THROW(data.read_range(100, 104, nullptr, nullptr), InvalidArgument);
}

TEST(Dataset, RefusesRowsThatDoNotExist) {
  const TemporaryFolder folder;
  write_dataset(folder.path("a.h5"));
  Dataset data(folder.path("a.h5"), "train");
  for (const std::int64_t row : {std::int64_t{-1}, kRows})
    expect_error<InvalidArgument>([&] { data.read_rows(std::span(&row, 1), nullptr, nullptr); },
                                  {"a.h5", "/train", "row"});
}

TEST(Dataset, NamesTheLabelThatIsOutOfRange) {
  const TemporaryFolder folder;
  write_dataset(folder.path("a.h5"), {.bad_label_row = 77});
  expect_error<InvalidInput>([&] { Dataset(folder.path("a.h5"), "train"); },
                             {"a.h5", "/train/y row 77", "label 3", "[0, 3)"});
  Dataset blocks(folder.path("a.h5"), "train", 0);  // found when its block is read
  expect_rows(blocks, {0, 1, 2});
  expect_error<InvalidInput>([&] { expect_rows(blocks, {78}); }, {"row 77"});
}

TEST(Dataset, NamesTheSplitsThatExist) {
  const TemporaryFolder folder;
  write_dataset(folder.path("a.h5"));
  expect_error<InvalidInput>([&] { Dataset(folder.path("a.h5"), "test"); },
                             {"a.h5", "'test'", "train"});
}

TEST(Dataset, RefusesAFileThatBreaksTheSchema) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.h5");
  const auto refused = [&](const Changes& changes, std::initializer_list<std::string_view> parts) {
    write_dataset(path, changes);
    expect_error<InvalidInput>([&] { Dataset(path, "train"); }, parts);
  };
  refused({.format = "other"}, {"a.h5", "'format'", "other"});
  refused({.version = 2}, {"a.h5", "'version'", "version 1, found 2"});
  refused({.target = "both"}, {"a.h5", "'target'", "both"});
  refused({.target = "real"}, {"a.h5", "/train/y", "f32", "i64"});
  refused({.y_rows = kRows - 1}, {"a.h5", "/train/y", "102 rows", "103"});
  refused({.statistics = 4}, {"a.h5", "'mean'", "expected 5 values, found 4"});
  refused({.with_y = false}, {"a.h5", "/train/y"});
}

TEST(Dataset, RefusesOtherHdf5FilesAndDamagedOnes) {
  const TemporaryFolder folder;
  h5::File::create(folder.path("empty.h5")).close();
  expect_error<InvalidInput>([&] { Dataset(folder.path("empty.h5"), "train"); },
                             {"empty.h5", "not a data set", "import"});
  write_dataset(folder.path("cut.h5"));
  std::filesystem::resize_file(folder.path("cut.h5"),
                               std::filesystem::file_size(folder.path("cut.h5")) - 100);
  expect_error<InvalidInput>([&] { Dataset(folder.path("cut.h5"), "train"); },
                             {"cut.h5", "truncated"});
  expect_error<IoError>([&] { Dataset(folder.path("gone.h5"), "train"); },
                        {"gone.h5", "No such file"});
}

}  // namespace
}  // namespace phalanx
