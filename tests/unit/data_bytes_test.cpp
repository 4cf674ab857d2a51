// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gtest/gtest.h>

#include "data/import_bytes.hpp"
#include "data/import_idx.hpp"
#include "data/tar.hpp"
#include "data_testing.hpp"

namespace phalanx {
namespace {

using testing::Bytes;
using testing::expect_error;
using testing::tar_end;
using testing::tar_entry;
using testing::to_bytes;
using testing::to_text;

constexpr std::size_t kPlenty = std::size_t{1} << 30;

std::string unpack(std::span<const std::byte> bytes) {
  return to_text(read_all(*unpacked_bytes(memory_bytes(bytes, "packed")), kPlenty));
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += fmt::format("line {}\n", i * i);
  return text;
}

TEST(Unpack, GivesWhatWasPacked) {
  const std::string text = long_text();
  EXPECT_EQ(unpack(to_bytes(text)), text);
  EXPECT_EQ(unpack(testing::gzip(to_bytes(text))), text);
  EXPECT_EQ(unpack(testing::xz(to_bytes(text))), text);
  EXPECT_EQ(unpack({}), "");
  EXPECT_EQ(unpack(to_bytes("x")), "x");
}

TEST(Unpack, JoinsTheMembersOfAGzipFile) {
  Bytes bytes = testing::gzip(to_bytes("first, "));
  testing::append(bytes, testing::gzip(to_bytes("second")));
  EXPECT_EQ(unpack(bytes), "first, second");
}

TEST(Unpack, RefusesPackedBytesThatAreCutShort) {
  for (const bool gzip : {true, false}) {
    Bytes bytes = gzip ? testing::gzip(to_bytes(long_text())) : testing::xz(to_bytes(long_text()));
    for (const std::size_t cut : {std::size_t{1}, bytes.size() / 2, bytes.size() - 8}) {
      const auto part = std::span(bytes).first(bytes.size() - cut);
      expect_error<InvalidInput>([&] { unpack(part); }, {"packed", "cut short"});
    }
  }
}

TEST(Unpack, RefusesPackedBytesThatAreDamaged) {
  for (const bool gzip : {true, false}) {
    Bytes bytes = gzip ? testing::gzip(to_bytes(long_text())) : testing::xz(to_bytes(long_text()));
    bytes[bytes.size() / 2] ^= std::byte{0x55};
    expect_error<InvalidInput>([&] { unpack(bytes); }, {"packed", "damaged"});
  }
}

TEST(Unpack, StopsAtTheSizeThatIsAccepted) {
  const Bytes bomb = testing::gzip(Bytes(10'000'000));
  EXPECT_LT(bomb.size(), 20000u);
  expect_error<InvalidInput>(
      [&] { read_all(*unpacked_bytes(memory_bytes(bomb, "bomb")), 100'000); }, {"bomb", "100000"});
}

TEST(Idx, ReadsShapeAndData) {
  const Bytes file = testing::idx({2, 3}, to_bytes("abcdef"));
  const IdxArray array = parse_idx(file, "a.idx");
  EXPECT_EQ(array.shape, (Shape{2, 3}));
  EXPECT_EQ(to_text(array.data), "abcdef");
  EXPECT_EQ(to_text(parse_idx(testing::gzip(file), "a.idx.gz").data), "abcdef");
}

TEST(Idx, RefusesAnotherMagic) {
  Bytes file = testing::idx({2, 3}, to_bytes("abcdef"));
  file[2] = std::byte{0x0d};
  expect_error<InvalidInput>([&] { parse_idx(file, "a.idx"); }, {"a.idx", "magic", "00 00 0d 02"});
  expect_error<InvalidInput>([&] { parse_idx(to_bytes("ab"), "a.idx"); }, {"a.idx", "four bytes"});
}

TEST(Idx, RefusesDataThatIsMissingOrLeftOver) {
  expect_error<InvalidInput>(
      [&] {
        parse_idx(testing::idx({2, 3}, to_bytes("abcde")), "a.idx");
      },
      {"a.idx", "cut short", "needs 6 bytes, found 5"});
  expect_error<InvalidInput>(
      [&] {
        parse_idx(testing::idx({2, 3}, to_bytes("abcdefg")), "a.idx");
      },
      {"a.idx", "left over"});
  expect_error<InvalidInput>(
      [&] { parse_idx(to_bytes(std::string("\0\0\x08\x02\0\0", 6)), "a.idx"); },
      {"a.idx", "axis 0"});
}

TEST(Idx, AllocatesNothingForAHeaderThatPromisesTooMuch) {
  constexpr std::int64_t kMany = 0xffffffff;
  expect_error<InvalidInput>(
      [&] {
        parse_idx(testing::idx({kMany, kMany}, {}), "a.idx");
      },
      {"a.idx", "impossible"});
  expect_error<InvalidInput>(
      [&] {
        parse_idx(testing::idx({kMany, 1000}, {}), "a.idx");
      },
      {"a.idx", "found 0"});
}

std::vector<std::string> list(const Bytes& archive) {
  TarReader tar(memory_bytes(archive, "a.tar"));
  std::vector<std::string> found;
  for (TarEntry entry; tar.next(entry);) {
    const char kind = entry.kind == TarEntry::Kind::kFile     ? 'f'
                      : entry.kind == TarEntry::Kind::kFolder ? 'd'
                                                              : 'o';
    found.push_back(fmt::format("{} {} {}", kind, entry.name, entry.size_bytes));
    if (entry.name == "skipped") continue;
    found.back() += " " + to_text(tar.content(1000));
  }
  return found;
}

Bytes join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) testing::append(all, part);
  return all;
}

TEST(Tar, ListsFilesFoldersAndTheRest) {
  const Bytes archive =
      join({tar_entry("a/", {}, '5'), tar_entry("skipped", Bytes(700)),
            tar_entry("a/b", to_bytes("hello")), tar_entry("link", {}, '2'), tar_end()});
  EXPECT_EQ(list(archive),
            (std::vector<std::string>{"d a/ 0 ", "f skipped 700", "f a/b 5 hello", "o link 0 "}));
}

TEST(Tar, KnowsLongNamesOfGnuAndPax) {
  const std::string name(300, 'n');
  const std::string record = fmt::format("{} path={}\n", 6 + 4 + name.size(), name);
  ASSERT_EQ(record.size(), 310u);
  const Bytes gnu = join(
      {tar_entry("././@LongLink", to_bytes(name + '\0'), 'L'), tar_entry("nnn", to_bytes("x"))});
  const Bytes pax = join({tar_entry("pax", to_bytes(record), 'x'), tar_entry("nnn", to_bytes("x")),
                          tar_entry("next", to_bytes("y"))});
  EXPECT_EQ(list(gnu), (std::vector<std::string>{"f " + name + " 1 x"}));
  EXPECT_EQ(list(pax), (std::vector<std::string>{"f " + name + " 1 x", "f next 1 y"}));
}

TEST(Tar, RefusesAnArchiveThatIsCutShort) {
  const Bytes archive = join({tar_entry("a", to_bytes("hello")), tar_entry("b", Bytes(900))});
  for (const std::size_t size :
       {std::size_t{100}, std::size_t{515}, std::size_t{1100}, std::size_t{2000}})
    expect_error<InvalidInput>(
        [&] { list(Bytes(archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(size))); },
        {"a.tar", "cut short"});
  expect_error<InvalidInput>([&] { list({}); }, {"a.tar", "empty"});
}

TEST(Tar, RefusesADamagedHeader) {
  Bytes archive = join({tar_entry("a", to_bytes("hello")), tar_end()});
  archive[1] = std::byte{'!'};
  expect_error<InvalidInput>([&] { list(archive); }, {"a.tar", "checksum"});
  expect_error<InvalidInput>([&] { list(Bytes(512, std::byte{'x'})); }, {"a.tar", "octal"});
  for (const char* record :
       {"99 path=x\n", "path=x\n", "-3 path=x", "2 ", "11 size=-5\n", "12 size=1x\n\n"})
    expect_error<InvalidInput>(
        [&] {
          list(join({tar_entry("p", to_bytes(record), 'x'), tar_entry("a", {})}));
        },
        {"a.tar", "pax"});
}

TEST(Tar, RefusesAnEntryLargerThanAccepted) {
  const Bytes archive = join({tar_entry("big", Bytes(1001)), tar_end()});
  expect_error<InvalidInput>([&] { list(archive); }, {"a.tar", "big", "1001"});
}

}  // namespace
}  // namespace phalanx
