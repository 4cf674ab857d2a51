// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "data/csv.hpp"
#include "data/dataset.hpp"
#include "data/import.hpp"
#include "data_testing.hpp"

namespace phalanx {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;
using Records = std::vector<std::vector<std::string>>;

TEST(Csv, FollowsRfc4180) {
  EXPECT_EQ(parse_csv("a,b,c\r\n1,2,3\r\n", "t"), (Records{{"a", "b", "c"}, {"1", "2", "3"}}));
  EXPECT_EQ(parse_csv("\"a, b\",\"say \"\"x\"\"\",\n\"two\nlines\",, y ", "t"),
            (Records{{"a, b", "say \"x\"", ""}, {"two\nlines", "", "y"}}));
  EXPECT_EQ(parse_csv("\xef\xbb\xbfx;y\n\n1;2\n", "t", ';'), (Records{{"x", "y"}, {"1", "2"}}));
  EXPECT_EQ(parse_csv("  1   2\n3 4  ", "t", ' '), (Records{{"1", "2"}, {"3", "4"}}));
  EXPECT_TRUE(parse_csv("", "t").empty());
  EXPECT_TRUE(parse_csv("\n\r\n\n", "t").empty());
}

TEST(Csv, NamesTheLineOfABrokenQuote) {
  expect_error<InvalidInput>([] { parse_csv("a\nb\n\"c\nd", "t.csv"); },
                             {"t.csv line 3", "not closed"});
  expect_error<InvalidInput>([] { parse_csv("a\n\"b\"c\n", "t.csv"); },
                             {"t.csv line 2", "closing quote"});
}

class ImportCsv : public ::testing::Test {
 protected:
  ImportOptions options(const std::string& text) {
    testing::write_file(folder_.path("t.csv"), text);
    ImportOptions o;
    o.source = "csv";
    o.input = folder_.path("t.csv");
    o.output = folder_.path("t.h5");
    o.test_share = 0;
    return o;
  }
  std::vector<float> x(const std::string& split = "train") {
    Dataset data(folder_.path("t.h5"), split);
    std::vector<float> values(static_cast<std::size_t>(data.size() * data.info().sample[0]));
    std::vector<std::byte> y(static_cast<std::size_t>(data.size()) * data.y_row_bytes());
    data.read_range(0, data.size(), reinterpret_cast<std::byte*>(values.data()), y.data());
    return values;
  }
  template <class T>
  std::vector<T> y(const std::string& split = "train") {
    Dataset data(folder_.path("t.h5"), split);
    std::vector<T> values(static_cast<std::size_t>(data.size()) * data.y_row_bytes() / sizeof(T));
    std::vector<std::byte> rows(static_cast<std::size_t>(data.size()) * data.x_row_bytes());
    data.read_range(0, data.size(), rows.data(), reinterpret_cast<std::byte*>(values.data()));
    return values;
  }
  void expect_refusal(const ImportOptions& o, std::initializer_list<std::string_view> parts) {
    expect_error<InvalidInput>([&] { import_dataset(o); }, parts);
    EXPECT_FALSE(std::filesystem::exists(o.output));
  }

  TemporaryFolder folder_;
};

TEST_F(ImportCsv, MakesClassesFromText) {
  const auto report = import_dataset(options("width,height,kind\n1,2,oak\n3,4,ash\n5,9,oak\n"));
  EXPECT_EQ(report.info.target, TargetKind::kClass);
  EXPECT_EQ(report.info.class_names, (std::vector<std::string>{"ash", "oak"}));
  EXPECT_EQ(report.info.feature_names, (std::vector<std::string>{"width", "height"}));
  EXPECT_EQ(x(), (std::vector<float>{1, 2, 3, 4, 5, 9}));
  EXPECT_EQ(y<std::int64_t>(), (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(report.info.mean, (std::vector<float>{3, 5}));
  EXPECT_FLOAT_EQ(report.info.std[0], static_cast<float>(std::sqrt(8.0 / 3)));
  EXPECT_FLOAT_EQ(report.info.std[1], static_cast<float>(std::sqrt(26.0 / 3)));
}

TEST_F(ImportCsv, OrdersNumericLabelsByValue) {
  auto o = options("kind,a\n10,1\n9,2\n10,3\n2,4\n");
  o.csv_target = {"kind"};
  EXPECT_EQ(import_dataset(o).info.class_names, (std::vector<std::string>{"2", "9", "10"}));
  EXPECT_EQ(y<std::int64_t>(), (std::vector<std::int64_t>{2, 1, 2, 0}));
}

TEST_F(ImportCsv, MakesOneColumnPerCategory) {
  auto o = options("colour,size,price\nred,1,10\nblue,2,20\nred,3,30\n");
  o.csv_kind = "regression";
  const auto report = import_dataset(o);
  EXPECT_EQ(report.info.feature_names,
            (std::vector<std::string>{"colour=blue", "colour=red", "size"}));
  EXPECT_EQ(x(), (std::vector<float>{0, 1, 1, 1, 0, 2, 0, 1, 3}));
  EXPECT_EQ(y<float>(), (std::vector<float>{10, 20, 30}));
  EXPECT_EQ(report.info.target_names, (std::vector<std::string>{"price"}));
  EXPECT_EQ(report.info.target_mean, (std::vector<float>{20}));
  o.csv_text = "error";
  o.output = folder_.path("other.h5");
  expect_refusal(o, {"t.csv line 2", "'colour'", "expected a number, found 'red'"});
}

TEST_F(ImportCsv, TakesSeveralBinaryTargets) {
  auto o = options("a,p,q\n1,0,no\n2,1,yes\n3,1,no\n");
  o.csv_kind = "binary";
  o.csv_target = {"p", "-1"};
  const auto report = import_dataset(o);
  EXPECT_TRUE(report.info.binary);
  EXPECT_EQ(report.info.targets, 2);
  EXPECT_EQ(y<float>(), (std::vector<float>{0, 0, 1, 1, 1, 0}));
  EXPECT_EQ(report.info.target_std, (std::vector<float>{1, 1}));
}

TEST_F(ImportCsv, TreatsMissingValuesAsTold) {
  auto o = options("a,b,y\n1,,0\nNA,4,1\n5,6,1\n");
  expect_refusal(o, {"t.csv line 2", "'b'", "missing"});
  o.csv_missing = "drop";
  EXPECT_EQ(import_dataset(o).dropped_rows, 2);
  EXPECT_EQ(x(), (std::vector<float>{5, 6}));
  o.csv_missing = "mean";
  EXPECT_EQ(import_dataset(o).dropped_rows, 0);
  EXPECT_EQ(x(), (std::vector<float>{1, 5, 3, 4, 5, 6}));
}

TEST_F(ImportCsv, TakesTheMeanOfTheTrainingRowsOnly) {
  auto o = options("a,y\n1,0\n3,1\n");
  testing::write_file(folder_.path("test.csv"), "a,y\n100,0\n?,1\n");
  o.csv_test_file = folder_.path("test.csv");
  o.csv_missing = "mean";
  const auto report = import_dataset(o);
  EXPECT_EQ(x("test"), (std::vector<float>{100, 2}));
  EXPECT_EQ(report.info.mean, (std::vector<float>{2}));
}

TEST_F(ImportCsv, ReadsTheHeaderOfSklearnsFiles) {
  auto o = options("3,2,malignant,benign\n1,2,0\n3,4,1\n5,6,1\n");
  o.csv_header = "sklearn";
  EXPECT_EQ(import_dataset(o).info.class_names, (std::vector<std::string>{"malignant", "benign"}));
  EXPECT_EQ(y<std::int64_t>(), (std::vector<std::int64_t>{0, 1, 1}));
  auto few = options("4,2,malignant,benign\n1,2,0\n");
  few.csv_header = "sklearn";
  few.output = folder_.path("other.h5");
  expect_refusal(few, {"t.csv line 1", "4 rows promised, but 1"});
}

TEST_F(ImportCsv, JoinsTargetsFromASecondPackedFile) {
  auto o = options("");
  testing::write_file(o.input, testing::gzip(testing::to_bytes("1 2\n3  4\n")));
  o.csv_target_file = folder_.path("y.gz");
  testing::write_file(o.csv_target_file, testing::gzip(testing::to_bytes("1.5e+01\n-2\n")));
  o.csv_delimiter = " ";
  o.csv_header = "none";
  o.csv_kind = "regression";
  import_dataset(o);
  EXPECT_EQ(x(), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(y<float>(), (std::vector<float>{15, -2}));
  testing::write_file(o.csv_target_file, std::string_view("1\n2\n3\n"));
  o.output = folder_.path("other.h5");
  expect_refusal(o, {"t.csv", "y.gz", "different numbers of rows", "after 2"});
}

TEST_F(ImportCsv, SplitsByTheSeedAndNothingElse) {
  std::string text = "a,y\n";
  for (int i = 0; i < 200; ++i) text += fmt::format("{},{}\n", i, i % 2);
  auto o = options(text);
  o.test_share = 0.25;
  const auto report = import_dataset(o);
  ASSERT_EQ(report.splits.size(), 2u);
  EXPECT_EQ(report.splits[0].name, "test");
  EXPECT_EQ(report.splits[0].rows, 50);
  const auto test = x("test");
  const auto train = x("train");
  std::set<float> all(test.begin(), test.end());
  all.insert(train.begin(), train.end());
  EXPECT_EQ(all.size(), 200u);
  o.seed = 2;
  EXPECT_FALSE(import_dataset(o).unchanged);
  EXPECT_NE(x("test"), test);
  o.seed = 1;
  EXPECT_EQ(import_dataset(o).info.content_sha256, report.info.content_sha256);
}

TEST_F(ImportCsv, NamesTheLineOfARowThatIsTooShort) {
  expect_refusal(options("a,b,y\n1,2,0\n\n3,4\n"), {"t.csv line 4", "expected 3 cells, found 2"});
  expect_refusal(options("a,b,y\n1,2,0,9\n"), {"t.csv line 2", "expected 3 cells, found 4"});
}

TEST_F(ImportCsv, RefusesTargetsThatAreNoNumbersOrNoLabels) {
  auto o = options("a,y\n1,2\n3,x\n");
  o.csv_kind = "regression";
  expect_refusal(o, {"t.csv line 3", "'y'", "expected a number, found 'x'"});
  o = options("a,y\n1,0\n3,2\n");
  o.class_names = {"no", "yes"};
  expect_refusal(o, {"t.csv line 3", "'y'", "from 0 to 1, found '2'"});
  o = options("a,y\n1,u\n2,v\n3,w\n");
  o.csv_kind = "binary";
  expect_refusal(o, {"t.csv line 4", "one of two values", "'w'"});
  o = options("a,y\n1,2\n1e99,3\n");
  o.csv_text = "error";
  expect_refusal(o, {"t.csv line 3", "'a'", "1e99"});
}

TEST_F(ImportCsv, RefusesEmptyTablesAndUnknownColumns) {
  expect_refusal(options(""), {"t.csv", "empty"});
  expect_refusal(options("a,b\n"), {"t.csv", "no rows"});
  auto o = options("width,y\n1,0\n");
  o.csv_target = {"widht"};
  expect_error<ConfigError>([&] { import_dataset(o); },
                            {"csv-target", "widht", "nearest name is 'width'"});
  o.csv_target = {"5"};
  expect_error<ConfigError>([&] { import_dataset(o); }, {"csv-target", "'5'", "2 columns"});
  o.csv_target = {};
  o.csv_kind = "guess";
  expect_error<ConfigError>([&] { import_dataset(o); }, {"csv-kind", "guess", "regression"});
}

}  // namespace
}  // namespace phalanx
