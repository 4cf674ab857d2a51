// SPDX-License-Identifier: Apache-2.0
// Numbers in the JSON bodies of requests.
#include "serve/json_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "serve/inference.hpp"
#include "serve/integer_lists.hpp"
#include "serve/json_file.hpp"

namespace phalanx {
namespace {

NumberList numbers(const std::string& text, std::size_t most = 100) {
  JsonBody body("{\"input\": " + text + "}");
  NumberList list;
  for (auto field : body.root())
    list = read_numbers(json_value(field.value(), "input"), "input", most);
  body.check_end();
  return list;
}

TEST(JsonNumbers, AreReadAsTheCLibraryReadsThem) {
  for (const char* text :
       {"0", "7", "42", "255", "1234567", "9999999", "12345678", "123456789012", "-0", "-1", "0.5",
        "1.0", "1e5", "1E-3", "100000e-2", "16777217", "3.4e38", "1234567.25", "0e1"}) {
    const float expected = std::strtof(text, nullptr);
    EXPECT_THAT(numbers(text).values, testing::ElementsAre(expected)) << text;
    EXPECT_THAT(numbers(std::string("[ ") + text + " ,\n" + text + "]").values,
                testing::ElementsAre(expected, expected))
        << text;
  }
}

TEST(JsonNumbers, OfAnyNumberOfDigitsAreReadInOnePass) {
  std::string text = "[";
  std::vector<float> expected;
  for (std::int64_t n = 0; n < 100'000'000; n = n < 2000 ? n + 1 : n + n / 500) {
    text += (n > 0 ? (n % 3 == 0 ? " ,\n " : ",") : "") + std::to_string(n);
    expected.push_back(static_cast<float>(n));
  }
  EXPECT_EQ(numbers(text + "]", expected.size()).values, expected);
}

TEST(JsonNumbers, ThatAreNoneAreRefused) {
  for (const char* text :
       {"00",   "01",      "0123456", "1 2",         "12a",  "1,",    "0x10",   "+1",
        "1.",   ".5",      "1e",      "--1",         "1-",   "true",  "null",   "\"1\"",
        "{}",   "[]",      "[1",      "[1,]",        "[,1]", "[1 2]", "[1,,2]", "[01]",
        "[1a]", "[[1],2]", "[1,[2]]", "[[1,2],[3]]", "1e39", "NaN",   "[[]]",   "[[1],[]]",
        "[1]]", "[0 0]",   "[1,2.]",  "[1.5,01]",    "[-]",  "[1]x"})
    EXPECT_THROW(numbers(text), Refusal) << text;
}

TEST(JsonNumbers, KeepTheSizesOfTheirLists) {
  const NumberList list = numbers("[[1, 2.5, 3], [4, 5, 6]]");
  EXPECT_THAT(list.values, testing::ElementsAre(1, 2.5f, 3, 4, 5, 6));
  EXPECT_THAT(list.sizes, testing::ElementsAre(2, 3));
  EXPECT_THROW(numbers("[1, 2, 3]", 2), Refusal);
  EXPECT_THROW(numbers("[1, 2, 3.5]", 2), Refusal);
  const NumberList deep = numbers(" [ [ [1,2] , [3,4] , [5,6] ] ]\t");
  EXPECT_THAT(deep.values, testing::ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(deep.sizes, testing::ElementsAre(1, 3, 2));
  EXPECT_THAT(numbers("7").sizes, testing::IsEmpty());
  EXPECT_THAT(numbers(std::string(16, '[') + "1" + std::string(16, ']')).sizes,
              testing::SizeIs(16));
  EXPECT_THROW(numbers(std::string(17, '[') + "1" + std::string(17, ']')), Refusal);
}

// --- lists of whole numbers, whose reader looks at 64 characters at once

std::string list_text(const std::vector<std::string>& numbers, std::size_t spaces) {
  std::string text(spaces, ' ');
  text += '[';
  for (std::size_t i = 0; i < numbers.size(); ++i) text += (i > 0 ? ", " : "") + numbers[i];
  return text + ']';
}

/// What a reader of another make finds in the text; nothing if it is no JSON, or its lists have different lengths.
std::optional<NumberList> numbers_by_another(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  NumberList list;
  for (const Json* level = &json; level->is_array() && !level->empty(); level = &level->front())
    list.sizes.push_back(static_cast<std::int64_t>(level->size()));
  const auto walk = [&](const auto& self, const Json& element, std::size_t depth) -> bool {
    if (depth == list.sizes.size()) {
      if (!element.is_number()) return false;
      list.values.push_back(element.get<float>());
      return true;
    }
    return element.is_array() && static_cast<std::int64_t>(element.size()) == list.sizes[depth] &&
           std::ranges::all_of(element, [&](const Json& e) { return self(self, e, depth + 1); });
  };
  return walk(walk, json, 0) ? std::optional(list) : std::nullopt;
}

TEST(IntegerLists, AreReadWhereverTheirNumbersFallInABlock) {
  for (std::size_t digits = 1; digits <= 7; ++digits) {
    std::vector<std::string> all;
    std::vector<float> expected;
    for (int i = 0; i < 40; ++i) {
      all.push_back(std::string("9182736455").substr(0, digits));
      expected.push_back(std::strtof(all.back().c_str(), nullptr));
    }
    for (std::size_t spaces = 0; spaces < 64; ++spaces) {
      const std::string text = list_text(all, spaces);
      const auto read = read_integer_lists(text + ", 7]", 40);
      ASSERT_TRUE(read) << text;
      EXPECT_EQ(read->list.values, expected) << text;
      EXPECT_EQ(read->size_bytes, text.size());
    }
  }
}

TEST(IntegerLists, LeaveOthersAlone) {
  const std::vector<std::string> good(40, "255");
  for (const char* other :
       {"", " ", "01", "00", "-1", "1.5", "1e2", "12345678", "123456789012345678", "1 2", "1,,2",
        "[1]", "]", "a", "\"1\"", "1/2", "1:2", "\x7f"})
    for (std::size_t place = 0; place < good.size(); ++place) {
      std::vector<std::string> numbers = good;
      numbers[place] = other;
      const std::string text = list_text(numbers, 0);
      EXPECT_FALSE(read_integer_lists(text, 100)) << text;
    }
  EXPECT_FALSE(read_integer_lists(list_text(good, 0), 39));
  EXPECT_FALSE(read_integer_lists("7", 100));
  EXPECT_FALSE(read_integer_lists("", 100));
}

TEST(IntegerLists, AreThoseOfAnotherReaderWhateverOneCharacterIs) {
  std::string text = "[";
  for (int row = 0; row < 6; ++row) {
    text += row > 0 ? ",\n [" : "[";
    for (int i = 0; i < 19; ++i)
      text += (i > 0 ? ", " : "") + std::to_string((row * 7919 + i * 104729) % 1000);
    text += "]";
  }
  text += "]";
  int unchanged = 0;
  for (std::size_t at = 0; at < text.size(); ++at)
    for (const char c : {'0', '7', ',', ' ', '\t', '[', ']', '.', '-', 'e', '{', '\0', '\xb0'}) {
      std::string changed = text;
      changed[at] = c;
      const auto read = read_integer_lists(changed, 1000);
      if (!read) continue;
      const auto expected = numbers_by_another(changed.substr(0, read->size_bytes));
      ASSERT_TRUE(expected) << changed;
      EXPECT_EQ(read->list.values, expected->values) << changed;
      EXPECT_EQ(read->list.sizes, expected->sizes) << changed;
      ++unchanged;
    }
  EXPECT_GT(unchanged, 1000);  // digits for digits, spaces for spaces
}

}  // namespace
}  // namespace phalanx
