// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <array>
#include <fstream>
#include <iterator>
#include <numeric>
#include <thread>

#include "data_testing.hpp"
#include "formats/atomic_file.hpp"
#include "formats/h5.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_small_file(const std::string& path) {
  h5::File file = h5::File::create(path);
  file.write_attribute("title", "a small file");
  file.write_attribute("names", std::vector<std::string>{"one", "zwei", "três"});
  h5::Group group = file.create_group("train");
  std::vector<float> x(5 * 3);
  std::iota(x.begin(), x.end(), 0.0f);
  group.create_dataset("x", DType::kF32, {5, 3}).write(x.data());
  group.create_dataset("y", DType::kI64, {5}, {.chunk_rows = 2})
      .write(std::array<std::int64_t, 5>{4, 3, 2, 1, 0}.data());
  file.close();
}

TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, DoesNotDependOnWhereThePiecesEnd) {
  Sha256 digest;
  for (const char c : std::string("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"))
    digest.update(std::string_view(&c, 1));
  EXPECT_EQ(digest.hex(), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_THROW(digest.hex(), Error);
  EXPECT_THROW(digest.update("more"), Error);
}

TEST(AtomicFile, LeavesTheOldFileUntilItCommits) {
  const TemporaryFolder folder;
  const std::string path = folder.path("deep/er/file.txt");
  write_file_atomically(path, "old");
  {
    const AtomicFile abandoned(path);
    testing::write_file(abandoned.temporary_path(), "half of the ne");
  }
  EXPECT_EQ(content_of(path), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path("deep/er")), {}), 1);
  write_file_atomically(path, "new");
  EXPECT_EQ(content_of(path), "new");
}

TEST(AtomicFile, NamesTheFolderThatCannotBeMade) {
  const TemporaryFolder folder;
  testing::write_file(folder.path("file"), "not a folder");
  expect_error<IoError>([&] { write_file_atomically(folder.path("file/below"), "x"); },
                        {"file", "folder"});
}

TEST(H5, ReadsBackEveryKindOfAttribute) {
  const TemporaryFolder folder;
  {
    h5::File file = h5::File::create(folder.path("a.h5"));
    file.write_attribute("text", "grüße");
    file.write_attribute("empty", "");
    file.write_attribute("int", -7);
    file.write_attribute("double", 0.1);
    file.write_attribute("ints", std::vector<std::int64_t>{1, -2, std::int64_t{1} << 60});
    file.write_attribute("doubles", std::vector<double>{1.5, 2e300});
    file.write_attribute("texts", std::vector<std::string>{"a", "", "c d"});
    file.write_attribute("nothing", std::vector<std::string>{});
    file.write_attribute("int", 8);
    file.close();
  }
  const h5::File file = h5::File::open(folder.path("a.h5"));
  EXPECT_EQ(file.string_attribute("text"), "grüße");
  EXPECT_EQ(file.string_attribute("empty"), "");
  EXPECT_EQ(file.int_attribute("int"), 8);
  EXPECT_EQ(file.double_attribute("double"), 0.1);
  EXPECT_EQ(file.double_attribute("int"), 8.0);
  EXPECT_EQ(file.ints_attribute("ints"), (std::vector<std::int64_t>{1, -2, std::int64_t{1} << 60}));
  EXPECT_EQ(file.doubles_attribute("doubles"), (std::vector<double>{1.5, 2e300}));
  EXPECT_EQ(file.strings_attribute("texts"), (std::vector<std::string>{"a", "", "c d"}));
  EXPECT_TRUE(file.strings_attribute("nothing").empty());
  EXPECT_FALSE(file.has_attribute("other"));
}

TEST(H5, HoldsAnAttributeOfMoreThan64KiB) {
  const TemporaryFolder folder;
  const std::vector<double> many(20000, 0.25);
  h5::File::create(folder.path("a.h5")).write_attribute("many", many);
  EXPECT_EQ(h5::File::open(folder.path("a.h5")).doubles_attribute("many"), many);
}

TEST(H5, NamesFileAndAttributeThatIsMissingOrOfAnotherKind) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  const h5::File file = h5::File::open(folder.path("a.h5"));
  expect_error<InvalidInput>([&] { file.int_attribute("colour"); }, {"a.h5", "colour"});
  expect_error<InvalidInput>([&] { file.int_attribute("title"); }, {"a.h5", "title", "integer"});
  expect_error<InvalidInput>([&] { file.string_attribute("names"); }, {"names", "one value", "3"});
}

TEST(H5, ReadsRowsInAnyOrder) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  const h5::File file = h5::File::open(folder.path("a.h5"));
  const h5::Dataset x = file.open_dataset("train/x");
  EXPECT_EQ(x.shape(), (Shape{5, 3}));
  EXPECT_EQ(x.path(), "/train/x");
  std::vector<float> rows(2 * 3);
  x.read_rows(1, 3, rows.data());
  EXPECT_EQ(rows, (std::vector<float>{3, 4, 5, 6, 7, 8}));
  std::vector<float> picked(4 * 3);
  x.gather_rows(std::array<std::int64_t, 4>{4, 0, 1, 0}, picked.data());
  EXPECT_EQ(picked, (std::vector<float>{12, 13, 14, 0, 1, 2, 3, 4, 5, 0, 1, 2}));
  EXPECT_EQ(file.open_dataset("train/y").read_vector<std::int64_t>(),
            (std::vector<std::int64_t>{4, 3, 2, 1, 0}));
  EXPECT_EQ(file.open_group("train").names(), (std::vector<std::string>{"x", "y"}));
  EXPECT_THROW(x.read_rows(4, 6, rows.data()), InvalidArgument);
  x.read_rows(2, 2, nullptr);
}

TEST(H5, GrowsACompressedArrayRowByRow) {
  const TemporaryFolder folder;
  {
    h5::File file = h5::File::create(folder.path("a.h5"));
    h5::Dataset x = file.create_dataset("x", DType::kU8, {0, 4},
                                        {.chunk_rows = 3, .deflate = 6, .extendible = true});
    for (std::uint8_t row = 0; row < 7; ++row) {
      x.resize_rows(row + 1);
      x.write_rows(row, row + 1, std::array<std::uint8_t, 4>{row, 1, 2, 3}.data());
    }
  }
  const h5::File file = h5::File::open(folder.path("a.h5"));
  const h5::Dataset x = file.open_dataset("x");
  EXPECT_EQ(x.chunk_rows(), 3);
  const auto values = x.read_vector<std::uint8_t>();
  ASSERT_EQ(values.size(), 28u);
  for (std::size_t row = 0; row < 7; ++row) EXPECT_EQ(values[row * 4], row);
}

TEST(H5, WritesEqualBytesForEqualContent) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  std::this_thread::sleep_for(
      std::chrono::milliseconds(1100));  // HDF5 would store times in seconds
  write_small_file(folder.path("b.h5"));
  EXPECT_EQ(content_of(folder.path("a.h5")), content_of(folder.path("b.h5")));
}

TEST(H5, TellsAMissingFileFromOneThatIsNoHdf5File) {
  const TemporaryFolder folder;
  expect_error<IoError>([&] { h5::File::open(folder.path("gone.h5")); },
                        {"gone.h5", "No such file"});
  testing::write_file(folder.path("text.h5"), "this is text");
  expect_error<InvalidInput>([&] { h5::File::open(folder.path("text.h5")); }, {"text.h5", "HDF5"});
}

TEST(H5, RefusesATruncatedFile) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  std::filesystem::resize_file(folder.path("a.h5"),
                               std::filesystem::file_size(folder.path("a.h5")) / 2);
  expect_error<InvalidInput>([&] { h5::File::open(folder.path("a.h5")); }, {"a.h5", "truncated"});
}

TEST(H5, NamesTheObjectThatIsNotThere) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  const h5::File file = h5::File::open(folder.path("a.h5"));
  expect_error<InvalidInput>([&] { file.open_dataset("test/x"); }, {"a.h5", "/test/x"});
  expect_error<InvalidInput>([&] { file.open_group("test"); }, {"a.h5", "/test"});
  expect_error<InvalidInput>([&] { file.open_dataset("train/x").read_vector<std::int64_t>(); },
                             {"/train/x", "i64", "f32"});
}

TEST(H5, RefusesToCreateWhereItMayNotWrite) {
  expect_error<IoError>([] { h5::File::create("/proc/phalanx.h5"); }, {"/proc/phalanx.h5"});
}

TEST(H5, ServesSeveralThreads) {
  const TemporaryFolder folder;
  write_small_file(folder.path("a.h5"));
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const h5::File file = h5::File::open(folder.path("a.h5"));
        if (file.open_dataset("train/x").read_vector<float>()[14] != 14.0f) ++wrong[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

// A limit on the size of files gives the same failure of write() as a full disk does.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

TEST(H5, ReportsADiskThatIsFullAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const std::string path = folder.path("a.h5");
  write_file_atomically(path, "old");
  {
    const AtomicFile target(path);
    h5::File file = h5::File::create(target.temporary_path());
    const std::vector<float> many(100000);
    h5::Dataset x = file.create_dataset("x", DType::kF32, {100000}, {.chunk_rows = 10000});
    const FileSizeLimit limit(100000);
    expect_error<IoError>([&] { x.write(many.data()); },
                          {"a.h5", "/x", "cannot write", "File too large"});
    expect_error<IoError>(
        [&] { write_file_atomically(folder.path("b"), std::string(200000, 'x')); },
        {"b", "write", "File too large"});
  }
  EXPECT_EQ(content_of(path), "old");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"a.h5"}));
  write_small_file(path);  // the library still works
  EXPECT_EQ(h5::File::open(path).string_attribute("title"), "a small file");
}

}  // namespace
}  // namespace phalanx
