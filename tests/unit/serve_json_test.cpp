// SPDX-License-Identifier: Apache-2.0
// Numbers in the JSON bodies of requests.
#include "serve/json_request.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "serve/inference.hpp"

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

}  // namespace
}  // namespace phalanx
