// SPDX-License-Identifier: Apache-2.0
// Training on several GPUs, emulated, with steps that hold their sums over ranks in a graph.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm_on_fake_nccl.hpp"
#include "formats/checkpoint.hpp"
#include "train/device_spans.hpp"
#include "train/trainer.hpp"

namespace phalanx {
namespace {

/// Features that are a function of the row's number, in three classes.
class Rows final : public RowSource {
 public:
  explicit Rows(std::int64_t count) : count_(count) {
    info_.sample = Shape{kFeatures};
    info_.classes = 3;
    info_.content_sha256 = std::string(64, '0');
  }
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return count_; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
    for (const std::int64_t row : rows) {
      for (std::int64_t f = 0; f < kFeatures; ++f, x += sizeof(float)) {
        const auto value = static_cast<float>(std::sin(0.7 * static_cast<double>(row * (f + 3))));
        std::memcpy(x, &value, sizeof value);
      }
      const std::int64_t target = row % 3;
      std::memcpy(y, &target, sizeof target);
      y += sizeof target;
    }
  }

 private:
  static constexpr std::int64_t kFeatures = 11;
  DatasetInfo info_;
  std::int64_t count_;
};

struct Trained {
  std::map<std::string, std::vector<float>> arrays;  // of the last checkpoint
  double train_loss = 0, test_loss = 0, communication_seconds = 0;
  nlohmann::json timeline;
  StepGraphs::Use graphs;  // of rank 0
};

class CapturedTraining : public Nccl {
 protected:
  CapturedTraining() { unsetenv("FAKE_NCCL_LOG"); }

  /// Batches of 16 rows for each rank, and a last one of a single row, which rank 0 has.
  static TrainConfig config() {
    TrainConfig config;
    config.layer = {"dense 40", "batch_norm", "relu", "dropout 0.25", "dense 3"};
    config.optimizer = "adamw";
    config.learning_rate = 0.01;
    config.clip_norm = 0.5;
    config.schedule = "cosine";
    config.batch_size = 32;
    config.epochs = 5;
    config.log_every = 3;
    config.check_divergence = 4;
    config.bucket = "1";
    config.checkpoint_every = 2;
    config.normalise = false;
    return config;
  }

  Trained train(TrainConfig config, bool captured, int ranks) {
    config.output =
        std::filesystem::temp_directory_path() / fmt::format("phalanx_captured_{}", getpid());
    if (config.trace_steps < 20) config.trace = config.output + "/trace.json";
    config.cuda_graph = captured;
    Trained trained;
    run(ranks, [&](int r, auto make) {
      Stream stream(gpus_.device(r));
      const auto comm = make();
      RankLayout layout = single_rank_layout();
      layout.rank = layout.local_rank = r;
      layout.size = layout.local_size = ranks;
      layout.hosts.assign(static_cast<std::size_t>(ranks), "node0");
      layout.node_of.assign(static_cast<std::size_t>(ranks), 0);
      layout.device = gpus_.device(r);
      Rows train(97), test(20);
      const TrainResult result = run_training(config, {layout, *comm, stream, train, &test, ""});
      if (r != 0) return;
      trained.train_loss = result.train_loss;
      trained.test_loss = result.test.loss;
      trained.graphs = result.graphs;
      const Checkpoint checkpoint = Checkpoint::read(result.checkpoint);
      for (const Checkpoint::Array& array : checkpoint.arrays())
        trained.arrays[array.path] = array.values;
    });
    std::ifstream metrics(config.output + "/metrics.jsonl");
    for (std::string line; std::getline(metrics, line);)
      trained.communication_seconds +=
          nlohmann::json::parse(line).value("communication_seconds", 0.0);
    if (std::ifstream file(config.trace); file) trained.timeline = nlohmann::json::parse(file);
    std::filesystem::remove_all(config.output);
    return trained;
  }

  void expect_same_bits(const TrainConfig& config, int ranks) {
    const Trained one = train(config, false, ranks), other = train(config, true, ranks);
    EXPECT_EQ(one.graphs.graphs, 0);
    EXPECT_GE(other.graphs.graphs, 3);
    EXPECT_GE(other.graphs.launches, 6);
    EXPECT_GT(one.train_loss, 0);
    EXPECT_EQ(one.train_loss, other.train_loss);
    EXPECT_EQ(one.test_loss, other.test_loss);
    EXPECT_EQ(one.arrays, other.arrays);
    EXPECT_FALSE(one.arrays.empty());
  }
};

class Graphs : public testing::Test {
 protected:
  EmulatedGpus gpus_;
  Stream stream_{gpus_.device(0)};
  std::unique_ptr<Communicator> comm_ = make_single_communicator();
  StepGraphs graphs_{*comm_, stream_};
};

TEST_F(Graphs, RunAStepThenCaptureItThenLaunchIt) {
  const HostTensor one({DType::kF32, Shape{}}, stream_.device()), sum(one.type(), stream_.device());
  const Tensor total(one.type(), stream_);
  *one.as<float>().data() = 1;
  fill_zero(total.view(), stream_);
  int calls = 0;
  const auto enqueue = [&] {
    ++calls;
    scale(total.view(), 2, stream_);
    download(total.view(), sum.view(), stream_);
  };
  upload(one.view(), total.view(), stream_);
  for (int step = 0; step < 5; ++step) {
    EXPECT_EQ(graphs_.run({.rows = 1}, enqueue), step > 1);
    stream_.synchronize();
    EXPECT_EQ(*sum.as<float>().data(), static_cast<float>(2 << step));
  }
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(graphs_.use().graphs, 1);
  EXPECT_EQ(graphs_.use().launches, 3);
}

TEST_F(Graphs, ForgetTheKindNotSeenForLongest) {
  const auto run = [&](std::int64_t rows) { return graphs_.run({.rows = rows}, [] {}); };
  run(0), run(0), run(1), run(1);
  EXPECT_TRUE(run(0));
  for (std::int64_t rows = 2; rows <= std::int64_t{StepGraphs::kMost}; ++rows) run(rows);
  EXPECT_TRUE(run(0));
  EXPECT_FALSE(run(1));  // anew
  EXPECT_FALSE(run(1));
  EXPECT_TRUE(run(1));
}

TEST_F(Graphs, SayThatAStepCouldNotBeCaptured) {
  const auto decide = [&] { stream_.synchronize(); };
  graphs_.run({}, decide);
  try {
    graphs_.run({}, decide);
    ADD_FAILURE() << "it was captured";
  } catch (const DeviceError& e) {
    EXPECT_NE(std::string(e.what()).find("cuda-graph = false"), std::string::npos) << e.what();
  }
  stream_.synchronize();
}

// The emulated GPU does nothing before the host waits.
TEST_F(Graphs, HaveSpansOfWhatRanAndNotOfWhenItWasEnqueued) {
  const Tensor values({DType::kF32, Shape{1 << 20}}, stream_);
  stream_.synchronize();
  DeviceSpans spans(stream_);
  for (int step = 0; step < 2; ++step) {
    Trace trace(*comm_);
    spans.align();
    spans.begin();
    fill_zero(values.view(), stream_);
    spans.end("fill");
    spans.begin();
    scale(values.view(), 2, stream_);
    spans.end("scale");
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const Trace::Time waiting = Trace::Time::clock::now();
    stream_.synchronize();
    const Trace::Time done = Trace::Time::clock::now();
    trace.add("wait", Trace::Track::kTraining, waiting, done);
    spans.move_to(trace);
    const auto all = nlohmann::json::parse("[" + trace.events(0, "node0") + "]");
    std::vector<nlohmann::json> found;
    for (const auto& event : all)
      if (event["ph"] == "X") found.push_back(event);
    ASSERT_EQ(found.size(), 3u);
    const auto begin = [&](int i) { return found.at(i)["ts"].get<double>(); };
    const auto end = [&](int i) { return begin(i) + found.at(i)["dur"].get<double>(); };
    EXPECT_EQ(found[1]["name"], "fill");
    EXPECT_EQ(found[2]["name"], "scale");
    constexpr double kClocks = 2000;  // microseconds by which a busy machine compares them wrongly
    EXPECT_GT(begin(1), begin(0) - kClocks);
    EXPECT_GT(end(1), begin(1));
    EXPECT_GE(begin(2), end(1));
    EXPECT_GT(end(2), begin(2));
    EXPECT_LT(end(2), end(0) + kClocks);
  }
}

TEST_F(CapturedTraining, HasTheBitsOfOtherTraining) { expect_same_bits(config(), 2); }

TEST_F(CapturedTraining, HasThemWithAShardedOptimizerAndCopiesInBf16) {
  TrainConfig sharded = config();
  sharded.shard_optimizer = true;
  sharded.precision = "bf16";
  sharded.evaluate_steps = 3;
  expect_same_bits(sharded, 2);
}

TEST_F(CapturedTraining, HasThemWithColumnsOfTheFirstLayer) {
  TrainConfig columns = config();
  columns.partition = "column";
  expect_same_bits(columns, 3);
  TrainConfig rows = config();
  rows.optimizer = columns.optimizer = "sgd";  // Adam enlarges rounding
  columns.trace_steps = 2;
  const Trained one = train(rows, false, 1), three = train(columns, true, 3);
  EXPECT_NEAR(one.test_loss, three.test_loss, 1e-4);
  const std::string name = "/parameters/dense1.weight";
  EXPECT_EQ(one.arrays.at(name).size(), three.arrays.at(name).size());
  EXPECT_NE(three.timeline.dump().find("sum over ranks"), std::string::npos);
}

// By NCCL the host waits for no sum, so only the device knows their times.
TEST_F(CapturedTraining, MeasuresSumsOverRanksByTheClockOfTheDevice) {
  for (const bool shards : {false, true}) {
    TrainConfig traced = config();
    traced.trace_steps = 2;
    traced.shard_optimizer = shards;
    const Trained trained = train(traced, false, 2);
    EXPECT_GT(trained.communication_seconds, 0);
    double sums = 0, operators = 0;
    for (const auto& event : trained.timeline.at("traceEvents")) {
      if (event["ph"] != "X") continue;
      if (event["name"] == "sum bucket 0") sums += event["dur"].get<double>();
      if (event["tid"] == 2) operators += event["dur"].get<double>();
    }
    EXPECT_GT(sums, 0);
    EXPECT_GT(operators, 0);
  }
}

TEST_F(CapturedTraining, HasThemWithCompressedGradients) {
  TrainConfig compressed = config();
  compressed.gradient_compression = "bf16";
  expect_same_bits(compressed, 3);
}

}  // namespace
}  // namespace phalanx
