// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/dataset.hpp"
#include "data/import.hpp"
#include "data_testing.hpp"
#include "formats/h5.hpp"

namespace phalanx {
namespace {

using testing::Bytes;
using testing::expect_error;
using testing::flat_image;
using testing::TemporaryFolder;

struct Rows {
  Bytes x;
  std::vector<std::int64_t> labels;
};

Rows rows_of(const std::string& path, const std::string& split) {
  Dataset data(path, split);
  Rows rows{Bytes(static_cast<std::size_t>(data.size()) * data.x_row_bytes()),
            std::vector<std::int64_t>(static_cast<std::size_t>(data.size()))};
  data.read_range(0, data.size(), rows.x.data(), reinterpret_cast<std::byte*>(rows.labels.data()));
  return rows;
}

Bytes counting_bytes(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = std::byte(i * 7 % 251);
  return bytes;
}

class Import : public ::testing::Test {
 protected:
  ImportOptions options(const std::string& source) {
    ImportOptions o;
    o.source = source;
    o.input = folder_.path("in");
    o.output = folder_.path("out.h5");
    return o;
  }
  void expect_refusal(const ImportOptions& o, std::initializer_list<std::string_view> parts) {
    expect_error<InvalidInput>([&] { import_dataset(o); }, parts);
    for (const std::string& name : folder_.names())
      EXPECT_NE(name.substr(0, 6), "out.h5") << "something was left behind";
  }
  void write_mnist(std::size_t train, std::size_t test) {
    const std::string in = folder_.path("in/");
    const auto count = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    testing::write_file(
        in + "train-images-idx3-ubyte.gz",
        testing::gzip(testing::idx({count(train), 2, 3}, counting_bytes(train * 6))));
    testing::write_file(in + "train-labels-idx1-ubyte.gz",
                        testing::gzip(testing::idx({count(train)}, labels(train))));
    testing::write_file(in + "t10k-images-idx3-ubyte",
                        testing::idx({count(test), 2, 3}, counting_bytes(test * 6)));
    testing::write_file(in + "t10k-labels-idx1-ubyte", testing::idx({count(test)}, labels(test)));
  }
  static Bytes labels(std::size_t count) {
    Bytes bytes(count);
    for (std::size_t i = 0; i < count; ++i) bytes[i] = std::byte(i % 4);
    return bytes;
  }

  TemporaryFolder folder_;
};

TEST_F(Import, ReadsTheFilesOfMnist) {
  write_mnist(10, 3);
  const ImportReport report = import_dataset(options("idx"));
  EXPECT_FALSE(report.unchanged);
  EXPECT_EQ(report.info.kind, SampleKind::kImage);
  EXPECT_EQ(report.info.sample, (Shape{1, 2, 3}));
  EXPECT_EQ(report.info.class_names, (std::vector<std::string>{"0", "1", "2", "3"}));
  const Rows train = rows_of(report.path, "train");
  EXPECT_EQ(train.x, counting_bytes(60));
  EXPECT_EQ(train.labels, (std::vector<std::int64_t>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(rows_of(report.path, "test").x, counting_bytes(18));
  double sum = 0, squares = 0;
  for (const std::byte b : train.x) {
    const double v = std::to_integer<int>(b) / 255.0;
    sum += v;
    squares += v * v;
  }
  EXPECT_FLOAT_EQ(report.info.mean[0], static_cast<float>(sum / 60));
  EXPECT_FLOAT_EQ(report.info.std[0],
                  static_cast<float>(std::sqrt(squares / 60 - sum / 60 * sum / 60)));
}

TEST_F(Import, DoesNothingASecondTime) {
  write_mnist(10, 3);
  const ImportReport first = import_dataset(options("idx"));
  const auto time = std::filesystem::last_write_time(first.path);
  const ImportReport second = import_dataset(options("idx"));
  EXPECT_TRUE(second.unchanged);
  EXPECT_EQ(std::filesystem::last_write_time(first.path), time);
  EXPECT_EQ(second.info.content_sha256, first.info.content_sha256);
  EXPECT_NE(second.str().find("nothing to do"), std::string::npos);
  write_mnist(11, 3);
  const ImportReport third = import_dataset(options("idx"));
  EXPECT_FALSE(third.unchanged);
  EXPECT_NE(third.info.content_sha256, first.info.content_sha256);
}

TEST_F(Import, HashesContentNotStorage) {
  write_mnist(10, 3);
  const std::string plain = import_dataset(options("idx")).info.content_sha256;
  auto packed = options("idx");
  packed.deflate = 9;
  const ImportReport report = import_dataset(packed);
  EXPECT_FALSE(report.unchanged);
  EXPECT_EQ(report.info.content_sha256, plain);
  EXPECT_EQ(rows_of(report.path, "train").x, counting_bytes(60));
}

TEST_F(Import, ReplacesAnOutputThatIsDamaged) {
  write_mnist(10, 3);
  testing::write_file(options("idx").output, std::string_view("rubbish"));
  EXPECT_FALSE(import_dataset(options("idx")).unchanged);
}

TEST_F(Import, RefusesImagesAndLabelsOfDifferentNumber) {
  write_mnist(10, 3);
  testing::write_file(folder_.path("in/t10k-labels-idx1-ubyte"), testing::idx({4}, labels(4)));
  expect_refusal(options("idx"), {"t10k-images", "3 images", "t10k-labels", "4 labels"});
}

TEST_F(Import, RefusesIdxImagesOfAnotherSize) {
  write_mnist(10, 3);
  testing::write_file(folder_.path("in/t10k-images-idx3-ubyte"),
                      testing::idx({3, 3, 2}, counting_bytes(18)));
  expect_refusal(options("idx"), {"t10k-images", "expected [1, 2, 3], found [1, 3, 2]"});
}

TEST_F(Import, RefusesATruncatedGzipFile) {
  write_mnist(10, 3);
  const std::string path = folder_.path("in/train-images-idx3-ubyte.gz");
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 9);
  expect_refusal(options("idx"), {"train-images-idx3-ubyte.gz", "cut short"});
}

TEST_F(Import, RefusesALabelWithoutAName) {
  write_mnist(10, 3);
  auto o = options("idx");
  o.class_names = {"a", "b", "c"};
  expect_refusal(o, {"idx", "row", "label 3", "3 classes"});
}

TEST_F(Import, NamesTheFileThatIsNotThere) {
  expect_error<IoError>([&] { import_dataset(options("idx")); }, {"train-images-idx3-ubyte"});
  expect_error<IoError>([&] { import_dataset(options("cifar10")); }, {"data_batch_1.bin"});
  expect_error<IoError>([&] { import_dataset(options("images")); }, {"in", "no such file"});
  expect_error<IoError>([&] { import_dataset(options("csv")); }, {"in", "no such file"});
  expect_error<ConfigError>([&] { import_dataset(options("image")); },
                            {"'image'", "did you mean 'images'"});
}

TEST_F(Import, ReadsTheBatchesOfCifar10) {
  const std::string in = folder_.path("in/");
  Bytes batch;
  for (int i = 0; i < 3; ++i) {
    batch.push_back(std::byte(2 - i));
    testing::append(batch, Bytes(3072, std::byte(10 * i)));
  }
  testing::write_file(in + "data_batch_1.bin", batch);
  testing::write_file(in + "test_batch.bin", std::span(batch).first(3073));
  testing::write_file(in + "batches.meta.txt", std::string_view("airplane\nautomobile\nbird\n\n"));
  const ImportReport report = import_dataset(options("cifar10"));
  EXPECT_EQ(report.info.sample, (Shape{3, 32, 32}));
  EXPECT_EQ(report.info.class_names.at(2), "bird");
  const Rows train = rows_of(report.path, "train");
  EXPECT_EQ(train.labels, (std::vector<std::int64_t>{2, 1, 0}));
  EXPECT_EQ(train.x[3072], std::byte{10});
  EXPECT_EQ(rows_of(report.path, "test").labels, (std::vector<std::int64_t>{2}));

  std::filesystem::remove(report.path);
  testing::write_file(in + "test_batch.bin", std::span(batch).first(3072));
  expect_refusal(options("cifar10"), {"test_batch.bin", "record 0", "cut short"});
  batch[3073] = std::byte{9};
  testing::write_file(in + "data_batch_1.bin", batch);
  expect_refusal(options("cifar10"), {"data_batch_1.bin", "record 1", "label 9", "3 classes"});
}

// Files of a small set: <split>/<class>/<n>.png, each flat in its own grey.
std::vector<std::pair<std::string, Bytes>> image_files() {
  return {{"train/cat/1.png", testing::png(flat_image(4, 4, 3, 10))},
          {"train/cat/2.JPG", testing::jpeg(flat_image(4, 4, 3, 20), 95)},
          {"train/ant/1.png", testing::png(flat_image(4, 4, 3, 30))},
          {"test/ant/9.png", testing::png(flat_image(4, 4, 3, 40))}};
}

TEST_F(Import, ReadsClassFoldersOfImages) {
  for (const auto& [name, bytes] : image_files())
    testing::write_file(folder_.path("in/" + name), bytes);
  testing::write_file(folder_.path("in/train/cat/notes.txt"), std::string_view("no image"));
  testing::write_file(folder_.path("in/train/.hidden/x.png"), std::string_view("not looked at"));
  const ImportReport report = import_dataset(options("images"));
  EXPECT_EQ(report.ignored_files, 1);
  EXPECT_EQ(report.info.class_names, (std::vector<std::string>{"ant", "cat"}));
  EXPECT_EQ(report.info.sample, (Shape{3, 4, 4}));
  const Rows train = rows_of(report.path, "train");
  EXPECT_EQ(train.labels, (std::vector<std::int64_t>{0, 1, 1}));
  EXPECT_EQ(train.x[0], std::byte{30});
  EXPECT_EQ(train.x[48], std::byte{10});
  EXPECT_EQ(rows_of(report.path, "test").labels, (std::vector<std::int64_t>{0}));
}

TEST_F(Import, ReadsImagesStraightOutOfAnArchive) {
  Bytes archive;
  for (const auto& [name, bytes] : image_files())
    testing::append(archive, testing::tar_entry("./set/" + name, bytes));
  testing::append(archive, testing::tar_end());
  for (const Bytes& file : {archive, testing::gzip(archive), testing::xz(archive)}) {
    auto o = options("images");
    testing::write_file(o.input, file);
    std::filesystem::remove(o.output);
    const ImportReport report = import_dataset(o);
    EXPECT_EQ(report.info.class_names, (std::vector<std::string>{"ant", "cat"}));
    EXPECT_EQ(rows_of(report.path, "train").labels,
              (std::vector<std::int64_t>{1, 1, 0}));  // the archive's order
    EXPECT_EQ(rows_of(report.path, "train").x[96], std::byte{30});
  }
}

TEST_F(Import, NeverWritesUnderANameThatLeavesItsFolder) {
  Bytes archive = testing::tar_entry("train/a/1.png", testing::png(flat_image(4, 4, 3, 10)));
  testing::append(archive,
                  testing::tar_entry("../../evil/a.png", testing::png(flat_image(4, 4, 3, 10))));
  testing::append(archive, testing::tar_end());
  auto o = options("images");
  testing::write_file(o.input, archive);
  expect_refusal(o, {"in", "'../../evil/a.png'"});
  EXPECT_EQ(folder_.names(), (std::vector<std::string>{"in"}));
}

TEST_F(Import, RefusesATruncatedArchive) {
  Bytes archive = testing::tar_entry("train/a/1.png", testing::png(flat_image(4, 4, 3, 10)));
  testing::append(archive, testing::tar_entry("train/a/2.png", Bytes(4000)));
  archive.resize(archive.size() - 1000);
  auto o = options("images");
  testing::write_file(o.input, archive);
  expect_refusal(o, {"in", "train/a/2.png", "cut short"});
}

TEST_F(Import, SplitsImagesByTheirNames) {
  const Bytes picture = testing::png(flat_image(1, 1, 1, 10));
  for (int i = 0; i < 200; ++i)
    testing::write_file(folder_.path(fmt::format("in/a/{}.png", i)), picture);
  auto o = options("images");
  o.test_share = 0.3;
  const ImportReport first = import_dataset(o);
  ASSERT_EQ(first.splits.size(), 2u);
  EXPECT_EQ(first.splits[0].rows + first.splits[1].rows, 200);
  EXPECT_NEAR(static_cast<double>(first.splits[0].rows), 60, 25);
  for (int i = 200; i < 210; ++i)
    testing::write_file(folder_.path(fmt::format("in/a/{}.png", i)), picture);
  const ImportReport second = import_dataset(o);
  EXPECT_GE(second.splits[0].rows, first.splits[0].rows);  // no file changed sides
  EXPECT_GE(second.splits[1].rows, first.splits[1].rows);
  EXPECT_EQ(second.splits[0].rows + second.splits[1].rows, 210);
}

TEST_F(Import, RefusesAnImageOfAnotherSizeUnlessToldToResize) {
  for (const auto& [name, bytes] : image_files())
    testing::write_file(folder_.path("in/" + name), bytes);
  testing::write_file(folder_.path("in/train/cat/3.png"), testing::png(flat_image(5, 4, 1, 50)));
  auto o = options("images");
  expect_refusal(o, {"train/cat/3.png", "5x4 grey", "4x4 RGB", "--resize"});
  o.resize_height = o.resize_width = 2;
  expect_refusal(o, {"train/cat/3.png", "2x2 grey", "2x2 RGB"});
  o.channels = 3;
  const ImportReport report = import_dataset(o);
  EXPECT_EQ(report.info.sample, (Shape{3, 2, 2}));
  EXPECT_EQ(rows_of(report.path, "train").x.back(), std::byte{50});
}

TEST_F(Import, RefusesADamagedImage) {
  for (const auto& [name, bytes] : image_files())
    testing::write_file(folder_.path("in/" + name), bytes);
  Bytes half = testing::jpeg(flat_image(4, 4, 3, 1), 90);
  half.resize(half.size() / 2);
  testing::write_file(folder_.path("in/test/cat/1.jpg"), half);
  expect_refusal(options("images"), {"in/test/cat/1.jpg", "damaged JPEG"});
}

TEST_F(Import, RefusesAnEmptyClassFolder) {
  for (const auto& [name, bytes] : image_files())
    testing::write_file(folder_.path("in/" + name), bytes);
  std::filesystem::create_directories(folder_.path("in/train/dog"));
  expect_refusal(options("images"), {"in", "'train/dog'", "no JPEG or PNG"});
}

TEST_F(Import, RefusesFoldersThatAreNoDataSet) {
  const Bytes picture = testing::png(flat_image(4, 4, 3, 10));
  std::filesystem::create_directories(folder_.path("in"));
  expect_refusal(options("images"), {"in", "no JPEG or PNG"});
  testing::write_file(folder_.path("in/test/dog/1.png"), picture);
  expect_refusal(options("images"), {"in", "'dog'", "no image to train with"});
  testing::write_file(folder_.path("in/train/1.png"), picture);
  expect_refusal(options("images"), {"train/1.png", "train or test"});
  std::filesystem::remove_all(folder_.path("in"));
  testing::write_file(folder_.path("in/1.png"), picture);
  expect_refusal(options("images"), {"'1.png'", "no class folder"});
}

}  // namespace
}  // namespace phalanx
