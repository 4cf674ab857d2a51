// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "formats/checkpoint.hpp"
#include "serve/check.hpp"
#include "serve/repository.hpp"
#include "serve/safe_file.hpp"
#include "unit/data_testing.hpp"

namespace phalanx {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TemporaryFolder;
using testing::write_file;
using Json = nlohmann::json;

Manifest sample_manifest() {
  Manifest m;
  m.name = "model";
  m.version = 3;
  m.created = "2026-11-25T15:04:05Z";
  m.files[kWeightsFile] = {123, std::string(64, 'a')};
  m.task = Task::kClassification;
  m.input.shape = Shape{3, 8, 8};
  m.output.shape = Shape{2};
  m.is_image = true;
  m.divide_by = 255;
  m.normalise = true;
  m.mean = {0.5f, 0.25f, 0};
  m.std = {1, 2, 3};
  m.labels = {"cat", "d\"og"};
  m.threshold = 0.25;
  m.metrics = {{"accuracy", 0.75}};
  m.step = 7;
  m.epoch = 2;
  m.data_sha256 = std::string(64, 'b');
  m.config = "data = x\n";
  return m;
}

TEST(Manifest, IsReadAsItWasWritten) {
  const Manifest image = sample_manifest();
  EXPECT_EQ(manifest_from_json(to_json(image), "m"), image);
  Manifest table;
  table.name = "t";
  table.version = 1;
  table.files[kWeightsFile] = {1, std::string(64, '0')};
  table.input.shape = Shape{7};
  table.output.shape = Shape{2};
  table.normalise_targets = true;
  table.target_mean = {1, 2};
  table.target_std = {3, 4};
  EXPECT_EQ(manifest_from_json(to_json(table), "m"), table);
}

/// The text of the refusal of a manifest whose member at `pointer` has the JSON value `value`; "" removes it.
std::string refusal_with(const char* pointer, const std::string& value) {
  Json json = Json::parse(to_json(sample_manifest()));
  const Json::json_pointer at(pointer);
  if (value.empty())
    json[at.parent_pointer()].erase(at.back());
  else
    json[at] = Json::parse(value);
  try {
    manifest_from_json(json.dump(), "m");
  } catch (const InvalidInput& e) {
    return e.what();
  }
  return "accepted";
}

TEST(Manifest, NamesTheMemberThatItRefuses) {
  for (const char* member : {"/format",
                             "/format_version",
                             "/name",
                             "/version",
                             "/created",
                             "/task",
                             "/files",
                             "/inputs",
                             "/outputs",
                             "/preprocessing",
                             "/postprocessing",
                             "/metrics",
                             "/parent",
                             "/inputs/0/name",
                             "/inputs/0/shape",
                             "/inputs/0/datatype",
                             "/preprocessing/image",
                             "/preprocessing/divide_by",
                             "/preprocessing/normalise",
                             "/preprocessing/mean",
                             "/preprocessing/std",
                             "/postprocessing/labels",
                             "/postprocessing/threshold",
                             "/postprocessing/normalise_targets",
                             "/parent/step",
                             "/parent/epoch",
                             "/parent/data_sha256",
                             "/parent/config"})
    for (const char* value : {"", "[[1]]", "{\"a\": []}"})
      EXPECT_THAT(refusal_with(member, value), AllOf(HasSubstr("m: "), HasSubstr(member))) << value;
  const std::pair<const char*, const char*> cases[] = {
      {"/format", "\"other\""},
      {"/format_version", "2"},
      {"/version", "0"},
      {"/version", "1.5"},
      {"/version", "9223372036854775808"},
      {"/task", "\"sing\""},
      {"/files", "{}"},
      {"/inputs", "[]"},
      {"/inputs/0/shape", "[]"},
      {"/inputs/0/shape", "[-1]"},
      {"/inputs/0/shape", "[-1, -1, -64]"},
      {"/inputs/0/shape", "[0, 8, 8]"},
      {"/inputs/0/shape", "[1e30]"},
      {"/inputs/0/shape", "[3.0, 8, 8]"},
      {"/inputs/0/shape", "[4294967296, 4294967296]"},
      {"/inputs/0/shape", "[1099511627776]"},
      {"/inputs/0/shape", "[1,1,1,1,1,1,1,1,1]"},
      {"/inputs/0/datatype", "\"BYTES\""},
      {"/outputs", "[1, 2]"},
      {"/preprocessing/divide_by", "0"},
      {"/preprocessing/divide_by", "-1"},
      {"/preprocessing/mean", "[1]"},
      {"/preprocessing/mean", "[1, 2, 1e300]"},
      {"/preprocessing/std", "[1, 2, null]"},
      {"/postprocessing/labels", "[\"one\"]"},
      {"/postprocessing/threshold", "1.5"},
      {"/metrics", "{\"a\": \"b\"}"},
      {"/parent/step", "-1"}};
  for (const auto& [member, value] : cases) {
    // What belongs to a tensor that does not fit is found at the tensors.
    const std::string where = std::string(member).substr(0, 7);
    EXPECT_THAT(refusal_with(member, value), AllOf(HasSubstr("m: "), HasSubstr(where)))
        << member << value;
  }
  for (const char* file : {"../x", "/etc/passwd", "a/b", "..", "a\\nb"})
    EXPECT_THAT(
        refusal_with("/files",
                     Json({{file, {{"bytes", 1}, {"sha256", std::string(64, 'a')}}}}).dump()),
        AllOf(HasSubstr("m: "), HasSubstr("/files")));
  EXPECT_THAT(refusal_with("/files/model.h5/sha256", "\"" + std::string(64, 'A') + "\""),
              HasSubstr("/files/model.h5/sha256"));
  EXPECT_THAT(refusal_with("/files/model.h5/bytes", "-1"), HasSubstr("/files/model.h5/bytes"));
}

TEST(Manifest, RefusesWhatIsNoPlainJson) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("\"x\""),
        std::string(100'000, '['), std::string(R"({"name": "a", "name": "b"})"),
        "{\"name\": \"\xff\"}" + std::string()})
    expect_error<InvalidInput>([&] { manifest_from_json(text, "m"); }, {"m"});
}

TEST(ModelConfig, IsReadAsItWasWritten) {
  const std::string text = to_json(model_config_from_json(
      R"({"max_batch_size": 32, "max_queue_delay_us": 5, "preferred_batch_sizes": [16, 8, 8], "max_queue_rows": 9,
          "timeout_ms": 7, "target_p99_ms": 6, "version_policy": {"specific": [3, 1]}, "shadow_version": 2,
          "aliases": {"stable": {"version": 1, "percent": 90}, "canary": {"version": 3, "percent": 10}}})",
      "c"));
  const ModelConfig config = model_config_from_json(text, "c");
  EXPECT_EQ(to_json(config), text);
  EXPECT_THAT(config.preferred_batch_sizes, ElementsAre(8, 16));
  EXPECT_THAT(config.versions.versions, ElementsAre(1, 3));
  EXPECT_EQ(config.aliases.at("canary").percent, 10);
  EXPECT_EQ(to_json(model_config_from_json("{}", "c")), to_json(ModelConfig{}));
}

TEST(ModelConfig, NamesTheMemberThatItRefuses) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"max_batch": 1})", "max_batch_size"},
      {R"({"max_batch_size": 0})", "max_batch_size"},
      {R"({"max_batch_size": 65537})", "max_batch_size"},
      {R"({"max_batch_size": "1"})", "max_batch_size"},
      {R"({"max_queue_delay_us": -1})", "max_queue_delay_us"},
      {R"({"max_queue_delay_us": 9223372036854775807})", "max_queue_delay_us"},
      {R"({"timeout_ms": 0})", "timeout_ms"},
      {R"({"timeout_ms": 9223372036854775807})", "timeout_ms"},
      {R"({"max_queue_rows": 1.5})", "max_queue_rows"},
      {R"({"target_p99_ms": true})", "target_p99_ms"},
      {R"({"shadow_version": -1})", "shadow_version"},
      {R"({"preferred_batch_sizes": [0]})", "preferred_batch_sizes"},
      {R"({"preferred_batch_sizes": [65]})", "preferred_batch_sizes"},
      {R"({"preferred_batch_sizes": 8})", "preferred_batch_sizes"},
      {R"({"version_policy": "some"})", "version_policy"},
      {R"({"version_policy": {"latest": 0}})", "latest"},
      {R"({"version_policy": {"latest": 1, "x": 1}})", "version_policy"},
      {R"({"version_policy": {"specific": [-1]}})", "specific"},
      {R"({"aliases": []})", "aliases"},
      {R"({"aliases": {"../x": {"version": 1}}})", "aliases"},
      {R"({"aliases": {"7": {"version": 1}}})", "aliases"},
      {R"({"aliases": {"a": {"version": 1, "percent": 50}}})", "aliases"},
      {R"({"aliases": {"a": {"version": 1, "percent": 101}}})", "percent"},
      {R"({"aliases": {"a": {}}})", "version"},
      {R"({"timeout_ms": 1, "timeout_ms": 2})", "timeout_ms"},
      {"[]", "object"},
      {"", "JSON"}};
  for (const auto& [text, part] : cases)
    expect_error<InvalidInput>([&] { model_config_from_json(text, "c"); }, {"c: ", part});
}

TEST(VersionPolicy, ChoosesOfWhatIsPublished) {
  VersionPolicy policy;
  EXPECT_THAT(policy.select({1, 2, 5}), ElementsAre(5));
  EXPECT_THAT(policy.select({}), IsEmpty());
  policy.count = 2;
  EXPECT_THAT(policy.select({1, 2, 5}), ElementsAre(2, 5));
  policy.count = 9;
  EXPECT_THAT(policy.select({1, 2, 5}), ElementsAre(1, 2, 5));
  policy.kind = VersionPolicy::Kind::kAll;
  EXPECT_THAT(policy.select({1, 2, 5}), ElementsAre(1, 2, 5));
  policy.kind = VersionPolicy::Kind::kSpecific;
  policy.versions = {2, 3};
  EXPECT_THAT(policy.select({1, 2, 5}), ElementsAre(2));
}

TEST(VersionPolicy, AddsWhatAliasesAndShadowName) {
  ModelConfig config;
  config.aliases["old"] = {1, 0};
  config.shadow_version = 2;
  EXPECT_THAT(wanted_versions("m", config, {1, 2, 5}), ElementsAre(1, 2, 5));
  expect_error<InvalidInput>(
      [&] {
        wanted_versions("m", config, {2, 5});
      },
      {"alias 'old'", "version 1", "not published"});
  expect_error<InvalidInput>([&] { wanted_versions("m", {}, {}); }, {"no version"});
}

class RepositoryTest : public ::testing::Test {
 protected:
  RepositoryTest() {
    RunRecord record;
    record.loss = "softmax_cross_entropy";
    record.model.sample = Shape{2};
    record.model.outputs = 2;
    record.mean = {0, 0};
    record.std = {1, 1};
    checkpoint_ = folder_.path("step.h5");
    write_checkpoint(checkpoint_, to_json(record),
                     {{"/parameters/w", {values_.data(), {DType::kF32, Shape{2, 2}}}},
                      {"/optimizer/momentum/w", {values_.data(), {DType::kF32, Shape{2, 2}}}}});
  }
  Published add(const std::string& name = "model", std::int64_t version = 0) {
    return publish(
        {.checkpoint = checkpoint_, .repository = root_, .name = name, .version = version});
  }
  std::string weights(std::int64_t version = 1) const {
    return root_ + "/model/" + std::to_string(version) + "/" + kWeightsFile;
  }
  void expect_refused(std::initializer_list<std::string_view> parts) {
    expect_error<InvalidInput>([&] { Repository(root_).manifest("model", 1); }, parts);
  }

  TemporaryFolder folder_;
  std::string root_ = folder_.path("models"), checkpoint_;
  std::vector<float> values_{1, 2, 3, 4};
};

TEST_F(RepositoryTest, HoldsWhatWasPublished) {
  EXPECT_EQ(add().manifest.version, 1);
  EXPECT_EQ(add().manifest.version, 2);
  EXPECT_EQ(add("model", 7).manifest.version, 7);
  add("..my_model");
  const Repository repository(root_);
  EXPECT_THAT(repository.models(), ElementsAre("..my_model", "model"));
  EXPECT_THAT(repository.versions("model"), ElementsAre(1, 2, 7));
  const Manifest m = repository.manifest("model", 7);
  EXPECT_EQ(m.files.at(kWeightsFile).sha256,
            SafeFile(repository.version_folder("model", 7), kWeightsFile).sha256());
  const Checkpoint weights =
      Checkpoint::read(repository.version_folder("model", 7) + "/" + kWeightsFile);
  EXPECT_TRUE(weights.has("/parameters/w"));
  EXPECT_FALSE(weights.has("/optimizer/momentum/w"));
}

TEST_F(RepositoryTest, RefusesNamesThatLeadElsewhere) {
  for (const char* name : {"", ".", "..", "../x", "/x", "a/b", "a b", "a\n", "m\xc3\xb6"}) {
    expect_error<InvalidInput>([&] { add(name); }, {"cannot be the name"});
    EXPECT_FALSE(is_model_name(name)) << name;
  }
  EXPECT_FALSE(is_model_name(std::string(129, 'a')));
  EXPECT_TRUE(is_model_name(std::string(128, 'a')));
  EXPECT_FALSE(is_model_name(std::string("a\0b", 3)));
  EXPECT_FALSE(fs::exists(folder_.path("x")));
}

TEST_F(RepositoryTest, NeverChangesAVersion) {
  add();
  expect_error<InvalidInput>([&] { add("model", 1); }, {"never changed"});
  EXPECT_THAT(Repository(root_).versions("model"), ElementsAre(1));
}

TEST_F(RepositoryTest, StaysAsItWasWhenPublishingFails) {
  add();
  write_file(folder_.path("bad.h5"), "no checkpoint");
  expect_error<InvalidInput>(
      [&] {
        publish({.checkpoint = folder_.path("bad.h5"), .repository = root_, .name = "model"});
      },
      {"bad.h5"});
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ + "/model"), {}), 1);
}

TEST_F(RepositoryTest, ShowsNothingOfWhatWasNotFinished) {
  add();
  write_file(root_ + "/model/.incoming.77/" + kWeightsFile, "half");
  for (const char* name : {"0", "01", "-1", "1.0", "2x", " 2", "99999999999999999999", "+2"})
    fs::create_directories(root_ + "/model/" + name);
  write_file(root_ + "/model/5", "a file");
  write_file(root_ + "/file", "");
  const Repository repository(root_);
  EXPECT_THAT(repository.versions("model"), ElementsAre(1));
  EXPECT_THAT(repository.models(), ElementsAre("model"));
}

TEST_F(RepositoryTest, RemovesWhatAKilledPublisherLeft) {
  add();
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  struct stat space {};
  ASSERT_EQ(::stat("/proc/self/ns/pid", &space), 0);
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(dead, nullptr, 0), dead);
  const std::string folder = root_ + "/model/.incoming.";
  const std::string here = fmt::format("{}{}.{}.", folder, host.data(), space.st_ino);
  const std::string abandoned = fmt::format("{}{}", here, dead);
  const std::vector<std::string> kept = {
      fmt::format("{}{}", here, ::getppid()),                                  // lives
      fmt::format("{}elsewhere.{}.{}", folder, space.st_ino, dead),            // another host
      fmt::format("{}{}.{}.{}", folder, host.data(), space.st_ino + 1, dead),  // another container
      here + "x",
      here + "-5",
      here + "0",
      here + "99999999999999999999"};
  write_file(abandoned + "/" + kWeightsFile, "half");
  for (const std::string& path : kept) write_file(path + "/" + kWeightsFile, "half");
  fs::create_symlink("/", fmt::format("{}0{}", here, dead));
  add();
  EXPECT_FALSE(fs::exists(abandoned));
  for (const std::string& path : kept) EXPECT_TRUE(fs::exists(path + "/" + kWeightsFile)) << path;
  EXPECT_TRUE(fs::is_symlink(fmt::format("{}0{}", here, dead)));
  EXPECT_THAT(Repository(root_).versions("model"), ElementsAre(1, 2));
}

TEST_F(RepositoryTest, FollowsNoLinks) {
  add();
  fs::create_directories(folder_.path("outside"));
  fs::rename(root_ + "/model/1", folder_.path("outside/1"));
  fs::create_directory_symlink(folder_.path("outside/1"), root_ + "/model/1");
  fs::create_directory_symlink(folder_.path("outside"), root_ + "/linked");
  const Repository repository(root_);
  EXPECT_THAT(repository.versions("model"), IsEmpty());
  EXPECT_FALSE(repository.has("linked"));
  expect_refused({"link"});
  expect_error<InvalidInput>([&] { add("linked"); }, {"link"});
  EXPECT_THAT(folder_.names(), ::testing::UnorderedElementsAre("models", "outside", "step.h5"));
}

TEST_F(RepositoryTest, RefusesFilesThatAreNotPlain) {
  add();
  const std::string good = folder_.path("good.h5");
  fs::rename(weights(), good);
  fs::create_symlink(good, weights());
  expect_refused({kWeightsFile, "link"});
  fs::remove(weights());
  fs::create_hard_link(good, weights());
  expect_refused({kWeightsFile, "not a regular file with one name"});
  fs::remove(weights());
  ASSERT_EQ(::mkfifo(weights().c_str(), 0600), 0);
  expect_refused({kWeightsFile, "not a regular file"});
  fs::remove(weights());
  fs::create_directory(weights());
  expect_refused({kWeightsFile, "not a regular file"});
  fs::remove(weights());
  expect_error<IoError>([&] { Repository(root_).manifest("model", 1); }, {"cannot open"});
  fs::rename(good, weights());
  EXPECT_NO_THROW(Repository(root_).manifest("model", 1));
  fs::resize_file(weights(), 100);
  expect_refused({kWeightsFile, "has 100 bytes, expected"});
}

TEST_F(RepositoryTest, ReadsOfAFileWhatWasCheckedThoughItsNameIsTaken) {
  fs::create_directories(root_);
  write_file(folder_.path("a"), "first");
  const SafeFile file(folder_.path(""), "a");
  fs::remove(folder_.path("a"));
  write_file(folder_.path("a"), "other");
  EXPECT_EQ(file.read(100), "first");
  EXPECT_EQ(file.size_bytes(), 5u);
  expect_error<InvalidInput>([&] { file.read(4); }, {"at most 4"});
  expect_error<InvalidInput>([&] { SafeFile(root_, "../a"); }, {"out of its folder"});
}

TEST_F(RepositoryTest, IsCheckedWithAllErrorsAtOnce) {
  add();
  add();
  add();
  add("other");
  write_file(root_ + "/other/config.json", "{\"max\": 1}");
  FrontOptions options;
  options.repository = root_;
  options.http.port = 0;
  {
    fs::permissions(weights(2), fs::perms::owner_all);
    std::FILE* file = std::fopen(weights(2).c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    std::fseek(file, 600, SEEK_SET);
    const int byte = std::fgetc(file);
    std::fseek(file, 600, SEEK_SET);
    std::fputc(byte ^ 1, file);
    std::fclose(file);
  }
  const ServeCheck found = check_serving(options);
  EXPECT_THAT(found.lines,
              ElementsAre("address 0.0.0.0: can be listened on",
                          HasSubstr("model 1: classification, [2] -> [2]"),
                          HasSubstr("model 2: damaged, not served"),
                          HasSubstr("model 3: classification"), HasSubstr("other 1: ")));
  EXPECT_THAT(found.errors, ElementsAre(HasSubstr("SHA-256"), HasSubstr("unknown member 'max'")));
  options.models = {"none"};
  EXPECT_THAT(check_serving(options).errors, ElementsAre(HasSubstr("no model 'none'")));
}

}  // namespace
}  // namespace phalanx
