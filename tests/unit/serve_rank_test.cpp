// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "core/text.hpp"
#include "serve/dispatcher.hpp"
#include "serve/launch.hpp"
#include "serve/rank_group.hpp"
#include "serve/rank_server.hpp"
#include "serve/rank_socket.hpp"

namespace phalanx {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kToken(64, 'a');

/// The other end of a group's connection: does what the test says.
class FakeRank {
 public:
  explicit FakeRank(int descriptor) : descriptor_(descriptor), socket_(descriptor) {}

  static FakeRank by_unix(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    return connected(AF_UNIX, &address, offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }
  static FakeRank by_tcp(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connected(AF_INET, &address, sizeof address);
  }

  void hello(int rank, int size, bool has_manifest = false) {
    const nlohmann::json text = {{"token", kToken}, {"rank", rank},
                                 {"size", size},    {"node", 0},
                                 {"pid", 0},        {"host", "elsewhere"},
                                 {"device", "cpu"}, {"has_manifest", has_manifest}};
    socket_.send_text(WireKind::kHello, text.dump());
  }
  void say(WireKind kind, const std::string& text) { socket_.send_text(kind, text); }

  bool has_message() const {
    pollfd look{descriptor_, POLLIN, 0};
    return ::poll(&look, 1, 0) > 0;
  }
  /// False if the connection has ended.
  bool receive(WireHeader& header, std::string& text) {
    if (!socket_.receive_header(header)) return false;
    text = socket_.receive_text(header);
    return true;
  }
  /// Of the batch that has come, or nothing.
  struct Run {
    WireRun head;
    std::uint32_t rows = 0;
  };
  std::optional<Run> receive_run() {
    while (has_message()) {
      WireHeader header;
      std::string text;
      if (!receive(header, text)) return std::nullopt;
      if (header.kind != WireKind::kRun) continue;
      Run run;
      std::memcpy(&run.head, text.data(), sizeof run.head);
      for (std::uint32_t i = 0; i < run.head.parts; ++i) {
        WirePart part;
        std::memcpy(&part, text.data() + sizeof run.head + i * sizeof part, sizeof part);
        run.rows += part.rows;
      }
      return run;
    }
    return std::nullopt;
  }
  void answer(const Run& run, std::chrono::nanoseconds took = {}, std::size_t answer_bytes = 0) {
    const std::vector<std::byte> answers(answer_bytes);
    socket_.send_answer(
        {.batch = run.head.batch, .infer_ns = static_cast<std::uint64_t>(took.count())}, "",
        answers);
  }

 private:
  template <class Address>
  static FakeRank connected(int family, const Address* address, std::size_t size) {
    const int descriptor = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(descriptor, reinterpret_cast<const sockaddr*>(address),
                        static_cast<socklen_t>(size)),
              0)
        << std::strerror(errno);
    return FakeRank(descriptor);
  }

  int descriptor_;
  RankSocket socket_;
};

/// The front end's side, in the thread of the test.
class Ranks : public testing::Test {
 protected:
  RankGroup& start(RankGroupOptions options) {
    options.token = kToken;
    options.host = "here";
    group_.emplace(
        io_, arena_, options,
        RankGroup::Listener{.on_up = [this] { ++ups_; },
                            .on_lost = [this](const std::string& why) { lost_.push_back(why); },
                            .on_given_up = [this](const std::string&) { ++given_up_; }});
    group_->start();
    return *group_;
  }
  RankGroup& start_attached(int ranks, bool spans_hosts = false) {
    RankGroupOptions options;
    options.attached_ranks = ranks;
    options.spans_hosts = spans_hosts;
    return start(options);
  }
  /// Of ranks that the group starts: processes that do nothing, since the test speaks for them.
  static RankGroupOptions started() {
    RankGroupOptions options;
    options.launch = {"/bin/sh", "-c", "exec sleep 60"};
    options.program = "rank";
    return options;
  }

  FakeRank come(bool by_tcp = false) {
    const std::string address = group_->address();
    const auto fields = split(address, ',');
    return by_tcp ? FakeRank::by_tcp(static_cast<int>(parse_int(fields[2])))
                  : FakeRank::by_unix(std::string(fields[0]));
  }
  std::vector<FakeRank> all_come(int ranks, bool by_tcp = false) {
    std::vector<FakeRank> all;
    for (int rank = 0; rank < ranks; ++rank) {
      all.push_back(come(by_tcp));
      all.back().hello(rank, ranks);
    }
    EXPECT_TRUE(until([&] { return group_->is_up(); }));
    return all;
  }

  void go_on(milliseconds time) {
    io_.restart();
    io_.run_for(time);
  }
  template <class Condition>
  bool until(Condition condition, milliseconds at_most = seconds(5)) {
    const auto end = ServeClock::now() + at_most;
    while (!condition()) {
      if (ServeClock::now() > end) return false;
      go_on(milliseconds(2));
    }
    return true;
  }

  RankGroup::Part part(std::int64_t rows) {
    return {.input = arena_.allocate(64), .output = arena_.allocate(64), .rows = rows};
  }

  SharedArena arena_{1 << 20};
  net::io_context io_;
  std::optional<RankGroup> group_;
  int ups_ = 0, given_up_ = 0;
  std::vector<std::string> lost_;
};

TEST_F(Ranks, MayBringAManifestThatIsLongerThanAHello) {
  start_attached(2);
  FakeRank first = come(), second = come();
  first.hello(0, 2, true);
  second.hello(1, 2);
  go_on(milliseconds(50));
  EXPECT_EQ(ups_, 0) << "the manifest is still to come";
  const std::string manifest(4 * kMostHelloBytes, 'm');
  // In a thread, since nobody reads here meanwhile, and a socket does not hold it.
  std::thread sender([&] { first.say(WireKind::kManifest, manifest); });
  EXPECT_TRUE(until([&] { return ups_ == 1; }));
  if (ups_ == 0) group_.reset();
  sender.join();
  ASSERT_EQ(ups_, 1);
  EXPECT_EQ(group_->in_place_manifest(), manifest);
}

TEST_F(Ranks, AreDroppedWhenOneComesThatIsNotExpectedAndSoIsThat) {
  start_attached(2);
  FakeRank stranger = come(), rank = come();
  rank.hello(0, 3);
  ASSERT_TRUE(until([&] { return !lost_.empty(); }));
  EXPECT_THAT(lost_[0], testing::HasSubstr("rank 0 of 3 came"));
  WireHeader header;
  std::string text;
  ASSERT_TRUE(until([&] { return rank.has_message(); })) << "it waits for an answer";
  EXPECT_FALSE(rank.receive(header, text));
}

TEST_F(Ranks, GiveABatchBackWhoseAnswersAreCutShort) {
  start_attached(1, true);
  auto ranks = all_come(1, true);
  std::vector<BatchResult> results;
  std::vector<RankGroup::Part> parts = {part(1), part(1)};
  group_->run(0, 7, parts, [&](const BatchResult& result) { results.push_back(result); });
  std::optional<FakeRank::Run> run;
  ASSERT_TRUE(until([&] { return (run = ranks[0].receive_run()).has_value(); }));
  ranks[0].answer(*run, {}, 127);
  ASSERT_TRUE(until([&] { return !lost_.empty(); }));
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(results[0].is_lost);
}

TEST_F(Ranks, AreNotTakenForHungWhileBatchesWaitBehindOthers) {
  RankGroupOptions options;
  options.attached_ranks = 1;
  options.batch_deadline_s = 1;
  start(options);
  auto ranks = all_come(1);
  int answered = 0;
  for (int i = 0; i < 3; ++i)
    group_->run(0, 7, {part(1)}, [&](const BatchResult& r) { answered += r.is_lost ? 0 : 1; });
  for (int i = 0; i < 3; ++i) {
    go_on(milliseconds(600));
    const auto run = ranks[0].receive_run();
    ASSERT_TRUE(run) << i << ": " << testing::PrintToString(lost_);
    ranks[0].answer(*run);
  }
  EXPECT_TRUE(until([&] { return answered == 3; }));
  group_->run(0, 7, {part(1)}, [](const BatchResult&) {});
  go_on(milliseconds(600));
  EXPECT_TRUE(lost_.empty());
  EXPECT_TRUE(until([&] { return !lost_.empty(); })) << "one that does not answer is";
}

TEST_F(Ranks, AreStartedAgainHoweverOftenTheyAreLostAfterAWhile) {
  RankGroupOptions options = started();
  options.settled_s = 0.05;
  start(options);
  for (std::size_t round = 1; round <= 13; ++round) {
    auto ranks = all_come(1);
    ASSERT_TRUE(group_->is_up()) << "round " << round;
    go_on(milliseconds(80));
    ranks.clear();
    ASSERT_TRUE(until([&] { return lost_.size() == round; }));
    go_on(milliseconds(5));
  }
  EXPECT_EQ(given_up_, 0);
}

TEST_F(Ranks, AreNotStartedAgainOnceTheyShallNotBe) {
  start(started());
  auto ranks = all_come(1);
  group_->stop_restarting();
  BatchResult result;
  group_->run(0, 7, {part(1)}, [&](const BatchResult& r) { result = r; });
  ranks.clear();
  ASSERT_TRUE(until([&] { return !lost_.empty(); }));
  EXPECT_TRUE(result.is_lost);
  go_on(milliseconds(50));
  EXPECT_EQ(group_->restarts(), 0u);
  EXPECT_EQ(given_up_, 0);
}

TEST(RankGroup, LeavesNothingBehind) {
  const auto token = std::make_shared<int>();
  {
    SharedArena arena(1 << 20);
    net::io_context io;
    RankGroupOptions options;
    options.attached_ranks = 1;
    options.token = kToken;
    bool is_up = false;
    RankGroup group(io, arena, options,
                    {.on_up = [&is_up] { is_up = true; },
                     .on_lost = [token](const std::string&) {},
                     .on_given_up = [](const std::string&) {}});
    group.start();
    FakeRank rank = FakeRank::by_unix(std::string(split(group.address(), ',')[0]));
    rank.hello(0, 1);
    for (int i = 0; i < 500 && !is_up; ++i) io.run_for(milliseconds(2));
    ASSERT_TRUE(is_up);
    group.run(0, 7, {}, [token](const BatchResult&) {});
    io.run_for(milliseconds(10));
    EXPECT_EQ(token.use_count(), 3);
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(ProcessHandle, DoesNotReachAnotherProcessOfTheSameNumber) {
  const int child = start_process({"sleep", "60"}, environment_for_job({}));
  ProcessHandle handle(child);
  ProcessHandle moved = std::move(handle);
  EXPECT_FALSE(handle.kill());
  EXPECT_TRUE(moved.kill());
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(moved.kill()) << "it is gone";
}

// --- with a dispatcher

class Dispatched : public Ranks {
 protected:
  std::vector<FakeRank> dispatch_to(int ranks) {
    start_attached(ranks);
    dispatcher_.emplace(io_, *group_);
    return all_come(ranks);
  }
  std::shared_ptr<ModelQueue> add_queue(const ModelConfig& config, std::uint64_t handle = 1) {
    auto queue =
        std::make_shared<ModelQueue>(handle, config, 1, [](std::int64_t, const BatchResult&) {});
    dispatcher_->add(queue);
    return queue;
  }
  InferencePtr ask(const std::shared_ptr<ModelQueue>& queue, std::int64_t rows) {
    auto request = std::make_shared<Inference>();
    request->input = arena_.allocate(64);
    request->output = arena_.allocate(static_cast<std::size_t>(rows) * sizeof(float));
    std::memset(request->output->data(), 0, request->output->size_bytes());
    request->rows = rows;
    request->deadline = ServeClock::now() + seconds(60);
    dispatcher_->submit(queue, request);
    return request;
  }
  std::optional<Dispatcher> dispatcher_;
};

TEST_F(Dispatched, RequestsAreRefusedWhileTheirModelIsNotOnTheRanks) {
  auto ranks = dispatch_to(1);
  const auto queue = add_queue({});
  EXPECT_EQ(ask(queue, 1)->status, 0);
  const auto refused = [&] {
    try {
      ask(queue, 1);
      return 0;
    } catch (const Refusal& e) {
      return e.status();
    }
  };
  dispatcher_->refuse_all("the ranks are gone");
  EXPECT_EQ(refused(), 503);
  dispatcher_->add(queue);
  EXPECT_EQ(refused(), 0);
  dispatcher_->remove(queue);
  EXPECT_EQ(refused(), 503);
}

TEST_F(Dispatched, RequestsAreLetGoOfAtTheEnd) {
  auto ranks = dispatch_to(1);
  ModelConfig config;
  config.max_batch_size = 1;
  const auto queue = add_queue(config);
  const auto token = std::make_shared<int>();
  for (int i = 0; i < 5; ++i) {  // of which some run and some wait
    const InferencePtr request = ask(queue, 1);
    request->finished = [request, token] {};
  }
  EXPECT_GT(queue->waiting_rows(), 0);
  EXPECT_EQ(token.use_count(), 6);
  dispatcher_.reset();
  group_.reset();
  EXPECT_EQ(token.use_count(), 1);
}

TEST_F(Dispatched, RequestsThatWaitGoToAllIdleRanksAtOnce) {
  auto ranks = dispatch_to(2);
  ModelConfig config;
  config.max_queue_delay_us = 20'000'000;
  const auto queue = add_queue(config);
  // Eight rows take 1.6 s, so they say: half of them half of that.
  const InferencePtr first = ask(queue, 8);
  std::optional<FakeRank::Run> run;
  ASSERT_TRUE(until([&] { return (run = ranks[0].receive_run()).has_value(); }));
  ranks[0].answer(*run, milliseconds(1600));
  ASSERT_TRUE(until([&] { return first->status == 200; }));
  // The same eight clients ask again, one by one.
  std::vector<InferencePtr> requests;
  for (int i = 0; i < 7; ++i) requests.push_back(ask(queue, 1));
  go_on(milliseconds(5));
  EXPECT_FALSE(ranks[0].receive_run() || ranks[1].receive_run()) << "the others are waited for";
  requests.push_back(ask(queue, 1));
  go_on(milliseconds(5));
  for (FakeRank& rank : ranks) {
    run = rank.receive_run();
    ASSERT_TRUE(run) << "a rank is idle while rows wait";
    EXPECT_EQ(run->rows, 4u);
  }
}

TEST_F(Dispatched, RequestsAreNotKeptForThoseOfAnotherModel) {
  auto ranks = dispatch_to(3);
  ModelConfig config;
  config.max_queue_delay_us = 20'000'000;
  const auto quick = add_queue(config, 2);
  config.preferred_batch_sizes = {5};
  const auto slow = add_queue(config, 1);
  std::optional<FakeRank::Run> run;
  const auto teach = [&](const auto& queue, std::chrono::nanoseconds took) {
    const InferencePtr request = ask(queue, 8);
    ASSERT_TRUE(until([&] { return (run = ranks[0].receive_run()).has_value(); }));
    ranks[0].answer(*run, took);
    ASSERT_TRUE(until([&] { return request->status == 200; }));
  };
  teach(quick, milliseconds(8));
  teach(slow, seconds(400));
  ask(slow, 5);
  ask(quick, 1);
  ask(slow, 1);
  ask(slow, 1);
  go_on(milliseconds(5));
  EXPECT_EQ(ranks[0].receive_run()->rows, 5u);
  EXPECT_EQ(ranks[1].receive_run()->head.handle, 2u);
  EXPECT_FALSE(ranks[2].receive_run()) << "a client is missing";
  // Now all eight are here, and the five that run come back too late, whenever the other model's client does.
  ask(slow, 1);
  go_on(milliseconds(5));
  run = ranks[2].receive_run();
  ASSERT_TRUE(run);
  EXPECT_EQ(run->rows, 3u);
}

}  // namespace
}  // namespace phalanx
