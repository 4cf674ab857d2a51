// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <bit>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "cli/train_options.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

std::vector<std::string> words(std::initializer_list<const char*> list) {
  return {list.begin(), list.end()};
}

template <class F>
std::string config_error(F&& f) {
  try {
    f();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no ConfigError";
}

std::string error_of(std::initializer_list<const char*> args) {
  return config_error([&] { (void)parse_train_config(words(args)); });
}

std::string error_in(std::string_view text) {
  return config_error([&] { (void)read_train_config(text, "run.conf"); });
}

TrainConfig parse(std::initializer_list<const char*> args) {
  auto all = words({"--data", "d.h5"});
  all.insert(all.end(), args.begin(), args.end());
  return parse_train_config(all);
}

class ConfigOnDisk {
 public:
  explicit ConfigOnDisk(std::string_view text)
      : path_(testing::TempDir() + "options_test_" +
              testing::UnitTest::GetInstance()->current_test_info()->name() + ".conf") {
    std::ofstream(path_) << text;
  }
  ~ConfigOnDisk() { std::remove(path_.c_str()); }
  ConfigOnDisk(const ConfigOnDisk&) = delete;
  ConfigOnDisk& operator=(const ConfigOnDisk&) = delete;
  const char* path() const { return path_.c_str(); }

 private:
  std::string path_;
};

void expect_contains(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST(Options, FlagBeatsFileAndFileBeatsDefault) {
  const ConfigOnDisk file("data = from_file.h5\nseed = 5\nbatch-size = 32\n");
  const TrainConfig c = parse_train_config(words({file.path(), "--seed", "9"}));
  EXPECT_EQ(c.data, "from_file.h5");
  EXPECT_EQ(c.seed, 9);
  EXPECT_EQ(c.batch_size, 32);
  EXPECT_EQ(c.keep, TrainConfig{}.keep);
  EXPECT_EQ(parse_train_config(words({"--seed=9", "--config", file.path()})), c);
}

TEST(Options, TheLastOfEqualFlagsCounts) { EXPECT_EQ(parse({"--seed", "1", "--seed=2"}).seed, 2); }

TEST(Options, BooleanFlagsTakeTrueFalseOrNothing) {
  EXPECT_FALSE(parse({"--normalise", "false"}).normalise);
  EXPECT_FALSE(parse({"--normalise=false"}).normalise);
  EXPECT_TRUE(parse({"--augment-flip", "true"}).augment_flip);
  const TrainConfig c = parse({"--augment-flip", "--seed", "3"});
  EXPECT_TRUE(c.augment_flip);
  EXPECT_EQ(c.seed, 3);
}

TEST(Options, BooleanFlagWithoutValueLeavesTheNextWordAlone) {
  const ConfigOnDisk file("data = d.h5\n");
  const TrainConfig c = parse_train_config(words({"--augment-flip", file.path()}));
  EXPECT_TRUE(c.augment_flip);
  EXPECT_EQ(c.data, "d.h5");
}

TEST(Options, LayersOfTheFileAreReplacedByThoseOfTheCommandLine) {
  const ConfigOnDisk file("data = d.h5\nlayer = conv 8\nlayer = relu\n");
  EXPECT_EQ(parse_train_config(words({file.path()})).layer, words({"conv 8", "relu"}));
  EXPECT_EQ(parse_train_config(words({file.path(), "--layer", "dense 5", "--layer=softmax"})).layer,
            words({"dense 5", "softmax"}));
}

TEST(Options, UnknownKeysNameTheNearestOne) {
  EXPECT_EQ(error_in("seed = 1\nlearnin-rate = 1\n"),
            "run.conf:2: unknown key 'learnin-rate'; did you mean 'learning-rate'?");
  EXPECT_EQ(error_of({"--learning_rate", "1"}),
            "command line: unknown key 'learning_rate'; did you mean 'learning-rate'?");
  EXPECT_EQ(error_of({"--dump-confi"}),
            "command line: unknown key 'dump-confi'; did you mean 'dump-config'?");
  expect_contains(error_of({"--learning=1"}), {"unknown key 'learning'"});  // no abbreviations
}

TEST(Options, WrongTypesNameWhatIsExpectedAndFound) {
  EXPECT_EQ(error_in("\nbatch-size = many # comment"),
            "run.conf:2: batch-size: expected an integer >= 1, found 'many'");
  EXPECT_EQ(error_in("batch-size = 8.0"),
            "run.conf:1: batch-size: expected an integer >= 1, found '8.0'");
  EXPECT_EQ(error_in("seed = 99999999999999999999"),
            "run.conf:1: seed: expected an integer >= 0, found '99999999999999999999'");
  EXPECT_EQ(error_in("epochs ="), "run.conf:1: epochs: expected a number > 0, found ''");
  EXPECT_EQ(error_in("nesterov = yes"),
            "run.conf:1: nesterov: expected true or false, found 'yes'");
  EXPECT_EQ(error_of({"--nesterov=1"}),
            "command line: nesterov: expected true or false, found '1'");
  EXPECT_EQ(error_of({"--seed", "x"}), "command line: seed: expected an integer >= 0, found 'x'");
}

TEST(Options, ValuesOutsideTheirRangeAreRefused) {
  EXPECT_EQ(error_in("batch-size = 0"),
            "run.conf:1: batch-size: expected an integer >= 1, found '0'");
  EXPECT_EQ(error_in("learning-rate = -0.1"),
            "run.conf:1: learning-rate: expected a number >= 0, found '-0.1'");
  EXPECT_EQ(error_in("momentum = 1"),
            "run.conf:1: momentum: expected a number >= 0 and < 1, found '1'");
  expect_contains(error_in("learning-rate = inf"), {"expected a number", "found 'inf'"});
  expect_contains(error_in("stop-loss = nan"), {"expected a number", "found 'nan'"});
  expect_contains(error_in("bucket = 0"),
                  {"run.conf:1: bucket: expected auto or a number of MiB > 0, found '0'"});
  expect_contains(error_in("layer ="), {"run.conf:1: layer: expected a text that is not empty"});
  EXPECT_EQ(error_of({"--seed", "-3"}), "command line: seed: expected an integer >= 0, found '-3'");
}

TEST(Options, NamesOutsideTheirSetAreRefusedWithTheNearest) {
  EXPECT_EQ(error_in("optimizer = adamm"),
            "run.conf:1: optimizer: expected one of sgd, adam, adamw, found 'adamm'; "
            "did you mean 'adam'?");
  for (const char* key : {"schedule", "partition", "device", "loss", "precision", "progress"}) {
    const std::string text = fmt::format("{} = bogus", key);
    expect_contains(error_in(text), {key, "expected one of", "found 'bogus'", "did you mean"});
  }
}

TEST(Options, OptionsThatContradictEachOtherNameWhereTheyWereSet) {
  EXPECT_EQ(error_in("batch-size = 4\naccumulate = 8"),
            "run.conf:2: accumulate: expected at most batch-size = 4, found '8'");
  expect_contains(error_in("nesterov = true"), {"run.conf:1: nesterov", "momentum = 0"});
  expect_contains(error_of({"--data=d", "--nesterov", "--momentum=0.9", "--optimizer=adam"}),
                  {"command line: nesterov", "optimizer = adam"});
}

TEST(Options, TheSameKeyTwiceInAFileNamesBothLines) {
  EXPECT_EQ(error_in("seed = 1\n# comment\nseed = 2"),
            "run.conf:3: seed: expected a key once per file, it stands at run.conf:1 already");
}

TEST(Options, SectionsAndLinesWithoutEqualsSignAreRefused) {
  expect_contains(error_in("seed = 1\n[data]\n"), {"run.conf:2:", "section '[data]'"});
  EXPECT_EQ(error_in("seed 1"), "run.conf:1: expected 'key = value', found 'seed 1'");
  EXPECT_EQ(error_in("seed # = 1"), "run.conf:1: expected 'key = value', found 'seed # = 1'");
  expect_contains(error_in("= 1"), {"run.conf:1: expected a key"});
  expect_contains(error_in(std::string_view("seed = 1\0", 9)), {"run.conf:1:", "NUL"});
}

TEST(Options, CommentsQuotesAndWindowsLinesAreRead) {
  const TrainConfig c = read_train_config(
      "\xEF\xBB\xBF# first\r\n\r\n  seed=7 # not of the value\r\ndata = a#b\r\n"
      "model = \"x # \\\"y\\\" \" # comment\r\ntrain-split = \tone two \r\n",
      "run.conf");
  EXPECT_EQ(c.seed, 7);
  EXPECT_EQ(c.data, "a#b");
  EXPECT_EQ(c.model, "x # \"y\" ");
  EXPECT_EQ(c.train_split, "one two");
  expect_contains(error_in("data = \"open"), {"run.conf:1: the quote is not closed"});
  expect_contains(error_in("data = \"a\" b"), {"run.conf:1:", "after the closing quote", "'b'"});
  expect_contains(error_in("data = \"\\q\""), {"run.conf:1:", "'\\q'"});
}

TEST(Options, MissingValuesAndStrayWordsAreRefused) {
  EXPECT_EQ(error_of({"--seed"}), "command line: seed: expected an integer >= 0, found no value");
  EXPECT_EQ(error_of({"--seed", "--keep", "1"}),
            "command line: seed: expected an integer >= 0, found no value");
  EXPECT_EQ(error_of({"--data=d", "-x"}),
            "command line: expected a flag '--key value', found '-x'");
  expect_contains(error_of({"a.conf", "b.conf"}), {"command line", "'b.conf'"});
  expect_contains(error_of({"--config", "a.conf", "b.conf"}), {"'a.conf' and 'b.conf'"});
  expect_contains(error_of({"no_such.conf"}), {"'no_such.conf'", "No such file"});
  expect_contains(error_of({"--dump-config=1"}), {"command line", "dump-config"});
}

TEST(Options, RequiredKeysMayBeMissingOnlyForADump) {
  expect_contains(error_of({"--seed", "1"}), {"command line", "--data", "<path>"});
  TrainConfig config;
  EXPECT_EQ(train_options(config).parse(words({"--dump-config"})), CliAction::kDumpConfig);
}

TEST(Options, HelpWinsOverMistakes) {
  TrainConfig config;
  EXPECT_EQ(train_options(config).parse(words({"--nonsense", "--help"})), CliAction::kHelp);
  EXPECT_EQ(train_options(config).parse(words({"-h"})), CliAction::kHelp);
}

TrainConfig unusual_config() {
  TrainConfig c;
  c.output = "a # b";
  c.data = " \"quoted\\\" \n\t\r";
  c.model = "#x";
  c.layer = {"conv 32 3 # bias", "relu", "\"", "a=b"};
  c.learning_rate = 0.1 + 0.2;
  c.epsilon = 5e-324;
  c.weight_decay = -0.0;
  c.epochs = 1.7976931348623157e308;
  c.max_seconds = 1.0 / 3.0;
  c.seed = INT64_MAX;
  c.normalise = false;
  return c;
}

TEST(Options, ADumpReadsBackAsTheSameConfigurationBitByBit) {
  for (const TrainConfig& c : {TrainConfig{}, unusual_config()}) {
    const std::string text = dump_config(c);
    const TrainConfig back = read_train_config(text, "dump");
    EXPECT_EQ(back, c) << text;
    for (const auto member :
         {&TrainConfig::learning_rate, &TrainConfig::epsilon, &TrainConfig::weight_decay,
          &TrainConfig::epochs, &TrainConfig::max_seconds, &TrainConfig::beta2})
      EXPECT_EQ(std::bit_cast<std::uint64_t>(back.*member),
                std::bit_cast<std::uint64_t>(c.*member));
    EXPECT_EQ(dump_config(back), text);
  }
}

TEST(Options, TheHelpShowsEveryGroupWithin100Columns) {
  TrainConfig config;
  const std::string help = train_options(config).help();
  for (const std::string_view line : split(help, '\n')) EXPECT_LE(line.size(), 100U) << line;
  expect_contains(help, {"Usage: phalanx train", "Optimizer:", "--learning-rate <number>",
                         "default 0.01]", "<samples>", "--config <path>", "[required]"});
}

struct ImportOptions {
  std::string format = "idx";
  std::vector<std::string> input;
  bool force = false;
};

OptionTable import_options(ImportOptions& o) {
  OptionTable table("phalanx data import [options] <input>...");
  table.add("format", &o.format, "", "layout of the files").choices({"idx", "cifar"});
  table.add("force", &o.force, "", "overwrite the output");
  table.add("input", &o.input, "path", "files to read").required().positional();
  return table;
}

TEST(Options, ATableOfAnotherSubcommandTakesPositionalWords) {
  ImportOptions o;
  EXPECT_EQ(import_options(o).parse(words({"--force", "a", "--format=cifar", "b"})),
            CliAction::kRun);
  EXPECT_TRUE(o.force);
  EXPECT_EQ(o.format, "cifar");
  EXPECT_EQ(o.input, words({"a", "b"}));
  ImportOptions none;
  expect_contains(config_error([&] { (void)import_options(none).parse({}); }),
                  {"input <path>", "files to read"});
  expect_contains(config_error([&] { (void)import_options(none).parse(words({"--config=x"})); }),
                  {"unknown key 'config'"});
}

TEST(Options, ATableRefusesTheSameKeyTwice) {
  ImportOptions o;
  OptionTable table = import_options(o);
  EXPECT_THROW(table.add("force", &o.force, "", ""), InvalidArgument);
  EXPECT_THROW(table.add("help", &o.force, "", ""), InvalidArgument);
}

TEST(Options, TheReadmeOfTheConfigurationsHoldsTheTablesOfAllKeys) {
  std::ifstream file(PHALANX_SOURCE_DIR "/configs/README.md");
  ASSERT_TRUE(file.is_open());
  std::stringstream readme;
  readme << file.rdbuf();
  TrainConfig config;
  const std::string tables = train_options(config).markdown();
  const std::string expected = testing::TempDir() + "config_keys.md";
  const bool holds = readme.str().find(tables) != std::string::npos;
  if (!holds) std::ofstream(expected) << tables;
  EXPECT_TRUE(holds) << "configs/README.md differs from src/cli/train_options.cpp; the tables that "
                        "belong there stand in "
                     << expected;
}

}  // namespace
}  // namespace phalanx
