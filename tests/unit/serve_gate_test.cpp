// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "serve/client_shares.hpp"
#include "serve/gate.hpp"
#include "unit/data_testing.hpp"

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::write_file;

/// A request that nobody answers.
class Asked final : public HttpExchange {
 public:
  using HttpExchange::HttpExchange;
  Awaitable<std::string> read_text(std::size_t) override { throw Error("no body"); }
  Awaitable<void> read_into(std::span<std::byte>) override { throw Error("no body"); }
  Awaitable<std::string> read_part(std::size_t) override { throw Error("no body"); }
  void expect(std::uint64_t) override {}
  Awaitable<void> run_aside(std::function<void()>) override { throw Error("nothing to do"); }
  void on_client_gone(std::function<void()>) override {}
};

using Fields = std::vector<std::pair<std::string, std::string>>;

class GateTest : public ::testing::Test {
 protected:
  std::string create(const std::string& name, Access access = Access::kInfer,
                     std::vector<std::string> models = {}, std::int64_t expires = 0,
                     double per_second = 0) {
    ApiKey key;
    key.name = name;
    key.access = access;
    key.models = std::move(models);
    key.expires = expires;
    key.requests_per_second = per_second;
    return create_key(file_, key);
  }
  GateOptions with_keys() const {
    GateOptions options;
    options.keys_file = file_;
    return options;
  }
  /// The status with which a request passes or not; the last one is kept.
  int admit(Gate& gate, Fields headers, Access access = Access::kInfer,
            const RouteValues& values = {}, const std::string& client = "10.0.0.1",
            const std::string& method = "POST") {
    HttpHead head;
    head.method = method;
    head.client = client;
    head.headers = std::move(headers);
    if (head.header("host").empty()) head.headers.emplace_back("host", "localhost");
    asked_ = std::make_unique<Asked>(std::move(head));
    try {
      gate.admit(*asked_, access, values, now_, unix_);
      return 200;
    } catch (const Refusal& e) {
      error_ = e.what();
      retry_after_ = e.retry_after_s();
      return e.status();
    }
  }
  static Fields bearer(const std::string& key) { return {{"authorization", "Bearer " + key}}; }

  TemporaryFolder folder_;
  std::string file_ = folder_.path("secrets/keys.json"), error_;
  std::unique_ptr<Asked> asked_;
  ServeClock::time_point now_{std::chrono::hours(1)};
  std::int64_t unix_ = 1'800'000'000;
  int retry_after_ = 0;
};

TEST_F(GateTest, IsOpenWithoutKeys) {
  Gate gate({});
  EXPECT_TRUE(gate.is_open());
  EXPECT_EQ(admit(gate, {}, Access::kAdmin), 200);
  EXPECT_TRUE(asked_->may_see("anything"));
}

TEST_F(GateTest, TakesAKeyFromEitherHeaderAndFromNowhereElse) {
  const std::string key = create("someone"), other = create("other");
  Gate gate(with_keys());
  EXPECT_EQ(admit(gate, bearer(key)), 200);
  EXPECT_EQ(asked_->user, "someone");
  EXPECT_EQ(admit(gate, {{"x-api-key", other}}), 200);
  EXPECT_EQ(asked_->user, "other");
  EXPECT_EQ(admit(gate, {{"authorization", "bEARER   " + key + " "}}), 200);
  std::string upper = key;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  for (const Fields& headers :
       {Fields{}, bearer(""), bearer(key + "x"), bearer(key.substr(1)), bearer(upper),
        bearer(key + " " + key), Fields{{"authorization", key}},
        Fields{{"authorization", "Basic " + key}}, Fields{{"authorization", "Bearer" + key}},
        Fields{{"authorization", "Bearer"}}, Fields{{"x-api-key", ""}},
        Fields{{"x-api-key", "Bearer " + key}}, Fields{{"cookie", key}},
        Fields{{"authorization", "Bearer " + key}, {"authorization", "Bearer " + key}},
        Fields{{"authorization", "Bearer " + key}, {"x-api-key", key}}}) {
    EXPECT_EQ(admit(gate, headers), 401) << (headers.empty() ? "" : headers[0].second);
    EXPECT_EQ(asked_->key, nullptr);
    EXPECT_EQ(asked_->user, "");
  }
  EXPECT_EQ(admit(gate, {}, Access::kPublic), 200);
}

TEST_F(GateTest, AsksForTheAccessAndTheTime) {
  const std::string infer = create("i"), admin = create("a", Access::kAdmin),
                    late = create("l", Access::kInfer, {}, unix_);
  Gate gate(with_keys());
  EXPECT_EQ(admit(gate, bearer(infer), Access::kAdmin), 403);
  EXPECT_EQ(admit(gate, bearer(admin), Access::kAdmin), 200);
  EXPECT_EQ(admit(gate, bearer(admin), Access::kInfer), 200);
  EXPECT_EQ(admit(gate, bearer(late)), 401);
  --unix_;
  EXPECT_EQ(admit(gate, bearer(late)), 200);
}

TEST_F(GateTest, HidesModelsOfOtherKeys) {
  const std::string key = create("i", Access::kAdmin, {"mine", "ours"});
  Gate gate(with_keys());
  EXPECT_EQ(admit(gate, bearer(key), Access::kInfer, {{"model", "mine"}}), 200);
  EXPECT_TRUE(asked_->may_see("ours"));
  EXPECT_FALSE(asked_->may_see("theirs"));
  for (Access access : {Access::kInfer, Access::kAdmin})
    EXPECT_EQ(admit(gate, bearer(key), access, {{"model", "theirs"}}), 404);
  EXPECT_EQ(error_, "there is no model 'theirs'");
}

TEST_F(GateTest, KeepsOnlyDigestsInAFileForItsOwner) {
  const std::string key = create("someone", Access::kInfer, {"m"}, unix_, 2.5);
  struct stat status {};
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(key.size(), 4u + 64);
  const ApiKeys keys = read_keys(file_);
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_THAT(to_json(keys), ::testing::Not(HasSubstr(key.substr(4))));
  EXPECT_EQ(*keys_from_json(to_json(keys), "k")[0], *keys[0]);
  EXPECT_EQ(find_key(keys, key), keys[0]);
  EXPECT_NE(create("other"), key);
  expect_error<InvalidInput>([&] { create("someone"); }, {"has a key 'someone' already"});
  expect_error<InvalidInput>([&] { create("a b"); }, {"cannot be the name"});
  expect_error<InvalidInput>([&] { revoke_key(file_, "nobody"); }, {"no key 'nobody'"});
  revoke_key(file_, "someone");
  EXPECT_EQ(read_keys(file_).size(), 1u);
  ASSERT_EQ(::stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path("secrets")), {}), 1);
}

TEST_F(GateTest, NamesWhatIsWrongWithAKeysFile) {
  const std::string digest(64, 'a');
  const auto key = [&](const std::string& more) {
    return R"({"keys": [{"name": "n", "sha256": ")" + digest + "\"" + more + "}]}";
  };
  EXPECT_EQ(keys_from_json(key(R"(, "access": "infer")"), "k").size(), 1u);
  EXPECT_EQ(keys_from_json(R"({"keys": []})", "k").size(), 0u);
  const std::pair<std::string, const char*> cases[] = {
      {"", "JSON"},
      {"[]", "object"},
      {"{}", "/keys"},
      {R"({"keys": {}})", "/keys"},
      {R"({"keys": [1]})", "/keys/0"},
      {R"({"keys": [], "more": 1})", "/keys"},
      {R"({"keys": [{}]})", "/keys/0/name"},
      {key(""), "/keys/0/access"},
      {key(R"(, "access": "root")"), "/keys/0/access"},
      {key(R"(, "access": "infer", "acces": 1)"), "'access'"},
      {key(R"(, "access": "infer", "access": "admin")"), "more than once"},
      {key(R"(, "access": "infer", "models": [])"), "/keys/0/models"},
      {key(R"(, "access": "infer", "models": ["../x"])"), "/keys/0/models"},
      {key(R"(, "access": "infer", "models": "x")"), "/keys/0/models"},
      {key(R"(, "access": "infer", "expires": "2026-02-31T00:00:00Z")"), "/keys/0/expires"},
      {key(R"(, "access": "infer", "expires": "2026-02-01")"), "/keys/0/expires"},
      {key(R"(, "access": "infer", "expires": 5)"), "/keys/0/expires"},
      {key(R"(, "access": "infer", "requests_per_second": 0)"), "/keys/0/requests_per_second"},
      {key(R"(, "access": "infer", "requests_per_second": "1")"), "/keys/0/requests_per_second"},
      {R"({"keys": [{"name": "a b"}]})", "/keys/0/name"},
      {R"({"keys": [{"name": "n", "sha256": "AA"}]})", "/keys/0/sha256"}};
  for (const auto& [text, part] : cases)
    expect_error<InvalidInput>([&] { keys_from_json(text, "k"); }, {"k: ", part});
  const std::string one = R"({"name": "n", "access": "infer", "sha256": ")" + digest + "\"}";
  expect_error<InvalidInput>([&] { keys_from_json("{\"keys\": [" + one + "," + one + "]}", "k"); },
                             {"/keys/1/name"});
  expect_error<IoError>([&] { Gate gate(with_keys()); }, {"keys.json"});
}

TEST_F(GateTest, ReadsTimesThatExist) {
  EXPECT_EQ(utc_text(1'795'619'045), "2026-11-25T15:04:05Z");
  EXPECT_EQ(seconds_from_utc("2026-11-25T15:04:05Z"), 1'795'619'045);
  for (const char* text : {"", "2026-11-25", "2026-11-25T15:04:05", "2026-11-25T15:04:05Zx",
                           "2026-13-01T00:00:00Z", "2026-11-25T24:00:00Z", "1960-01-01T00:00:00Z"})
    expect_error<InvalidInput>([&] { seconds_from_utc(text); }, {text});
}

TEST_F(GateTest, FollowsItsFileAndKeepsGoodKeysBesideABadOne) {
  const std::string first = create("first");
  Gate gate(with_keys());
  const std::string second = create("second");
  EXPECT_EQ(admit(gate, bearer(second)), 401);
  gate.refresh(now_);
  EXPECT_EQ(admit(gate, bearer(second)), 200);
  revoke_key(file_, "first");
  gate.refresh(now_);
  EXPECT_EQ(admit(gate, bearer(first)), 401);
  write_file(file_, "{");
  gate.refresh(now_);
  EXPECT_EQ(admit(gate, bearer(second)), 200);
  std::filesystem::remove(file_);
  gate.refresh(now_);
  EXPECT_EQ(admit(gate, bearer(second)), 200);
  EXPECT_EQ(gate.keys(), 1u);
}

TEST_F(GateTest, LimitsAKeyWithoutDisturbingAnother) {
  const std::string fast = create("fast"), slow = create("slow", Access::kInfer, {}, 0, 2);
  GateOptions options = with_keys();
  options.requests_per_second = 10;
  Gate gate(options);
  const auto passed = [&](const std::string& key, int times) {
    int count = 0;
    for (int i = 0; i < times; ++i) count += admit(gate, bearer(key)) == 200 ? 1 : 0;
    return count;
  };
  EXPECT_EQ(passed(slow, 20), 2);
  EXPECT_EQ(retry_after_, 1);
  EXPECT_EQ(passed(fast, 20), 10);
  now_ += std::chrono::milliseconds(500);
  EXPECT_EQ(passed(slow, 20), 1);
  EXPECT_EQ(passed(fast, 20), 5);
  now_ += std::chrono::hours(1);
  gate.refresh(now_);
  EXPECT_EQ(passed(slow, 20), 2);
}

TEST_F(GateTest, LimitsAnAddressThatHasNoKey) {
  create("someone");
  for (bool is_open : {true, false}) {
    GateOptions options = is_open ? GateOptions{} : with_keys();
    options.requests_per_second = 0.1;
    options.burst = 3;
    Gate gate(options);
    const int pass = is_open ? 200 : 401;
    for (const char* client : {"10.0.0.1", "10.0.0.2", "2001:db8:0:1::5"}) {
      for (int i = 0; i < 3; ++i) EXPECT_EQ(admit(gate, {}, Access::kInfer, {}, client), pass);
      EXPECT_EQ(admit(gate, {}, Access::kInfer, {}, client), 429);
      EXPECT_EQ(retry_after_, 10);
      EXPECT_EQ(admit(gate, {}, Access::kPublic, {}, client), 200);
    }
    EXPECT_EQ(admit(gate, {}, Access::kInfer, {}, "2001:db8:0:1:ffff::1"), 429)
        << "of the same /64";
    EXPECT_EQ(admit(gate, {}, Access::kInfer, {}, "2001:db8:0:2::5"), pass);
  }
}

TEST_F(GateTest, SaysWhoseLimitsARequestCountsAgainst) {
  const std::string key = create("shop");
  Gate open(GateOptions{}), closed(with_keys());
  for (const auto& [client, network] : std::map<std::string, std::string>{
           {"10.0.0.1", "10.0.0.1"}, {"2001:db8:0:1::5", "2001:db8:0:1::"}}) {
    EXPECT_EQ(admit(open, {}, Access::kInfer, {}, client), 200);
    EXPECT_EQ(asked_->counts_for, network);
    EXPECT_EQ(admit(closed, bearer(key), Access::kInfer, {}, client), 200);
    EXPECT_EQ(asked_->counts_for, "shop");
  }
}

/// The status that taking memory ends with.
int take(ClientShares& shares, const std::string& client, std::uint64_t bytes,
         std::uint64_t own = 0) {
  try {
    shares.take(client, bytes, own);
    return 200;
  } catch (const Refusal& e) {
    EXPECT_EQ(e.retry_after_s(), 1);
    return e.status();
  }
}

TEST(ClientShares, HoldBackWhoTakesTooMuchBeforeOthers) {
  ClientShares shares(100, 40);
  EXPECT_EQ(take(shares, "a", 40), 200);
  EXPECT_EQ(take(shares, "a", 1), 429);
  EXPECT_EQ(take(shares, "b", 39), 200);
  EXPECT_EQ(take(shares, "b", std::uint64_t{0} - 1), 429);
  EXPECT_EQ(take(shares, "c", 22), 503);
  EXPECT_EQ(take(shares, "c", std::uint64_t{0} - 1), 503);
  EXPECT_EQ(take(shares, "c", 21), 200);
  EXPECT_EQ(shares.taken_bytes(), 100u);
  EXPECT_EQ(take(shares, "d", 0), 200);
  EXPECT_EQ(shares.clients(), 3u);
  for (const auto& [client, bytes] :
       std::map<std::string, std::uint64_t>{{"a", 40}, {"b", 39}, {"c", 21}})
    shares.give_back(client, bytes);
  EXPECT_EQ(shares.taken_bytes(), 0u);
  EXPECT_EQ(shares.clients(), 0u) << "clients that have nothing are forgotten";
}

TEST(ClientShares, LetOneLargeRequestThrough) {
  ClientShares shares(100, 40);
  EXPECT_EQ(take(shares, "a", 150), 200);
  EXPECT_EQ(take(shares, "a", 50, 150), 200) << "the same request, with more";
  EXPECT_EQ(take(shares, "a", 1), 429) << "another request";
  EXPECT_EQ(take(shares, "b", 1), 503);
  shares.give_back("a", 200);
  EXPECT_EQ(take(shares, "b", 1), 200);
}

TEST_F(GateTest, RemembersNoMoreAddressesThanItMust) {
  GateOptions options;
  options.requests_per_second = 1;
  Gate gate(options);
  int refused = 0;
  for (int i = 0; i < 70'000; ++i) {
    const std::string client = "10." + std::to_string(i >> 16) + "." +
                               std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255);
    refused += admit(gate, {}, Access::kInfer, {}, client) == 429 ? 1 : 0;
  }
  EXPECT_EQ(refused, 70'000 - 65536 - 1);
  now_ += std::chrono::seconds(2);
  gate.refresh(now_);
  EXPECT_EQ(admit(gate, {}, Access::kInfer, {}, "10.200.0.1"), 200);
}

TEST_F(GateTest, KnowsItsOwnNames) {
  GateOptions options;
  options.allowed_hosts = {"Models.Example", "*.inner.example"};
  Gate gate(options);
  for (const char* host :
       {"localhost", "LOCALHOST:8000", "127.0.0.1", "10.1.2.3:80", "[::1]", "[::1]:8000",
        "models.example", "a.inner.example:1", "a.b.inner.example"})
    EXPECT_EQ(admit(gate, {{"host", host}}), 200) << host;
  for (const char* host :
       {"evil.example", "inner.example", "xinner.example", "models.example.evil", "[::1", "[::1]x",
        "localhost:x", "localhost:1:2", "::1", ":80", "*", "a@localhost", "127.1.evil"})
    for (Access access : {Access::kPublic, Access::kInfer})
      EXPECT_EQ(admit(gate, {{"host", host}}, access), 403) << host;
  options.allowed_hosts = {"*"};
  Gate any(options);
  EXPECT_EQ(admit(any, {{"host", "evil.example"}}), 200);
}

TEST_F(GateTest, RefusesScriptsOfOtherSites) {
  Gate gate({});
  for (const char* origin : {"http://evil.example", "null", "http://localhost:1",
                             "http://localhost.evil", "localhost", ""})
    EXPECT_EQ(admit(gate, {{"origin", origin}}), 403) << origin;
  for (const char* method : {"POST", "DELETE", "PUT", "OPTIONS"})
    EXPECT_EQ(
        admit(gate, {{"origin", "http://evil.example"}}, Access::kPublic, {}, "10.0.0.1", method),
        403);
  EXPECT_EQ(admit(gate, {{"origin", "http://evil.example"}}, Access::kInfer, {}, "10.0.0.1", "GET"),
            200);
  EXPECT_EQ(admit(gate, {{"origin", "https://LOCALHOST:8000"}, {"host", "localhost:8000"}}), 200);
  EXPECT_EQ(admit(gate, {{"origin", "http://localhost"}, {"origin", "http://evil.example"}}), 403);
}

}  // namespace
}  // namespace phalanx
