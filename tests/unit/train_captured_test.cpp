// SPDX-License-Identifier: Apache-2.0
// Training on several GPUs, emulated, with steps that hold their sums over ranks in a graph.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "comm_on_fake_nccl.hpp"
#include "formats/checkpoint.hpp"
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
  double train_loss = 0, test_loss = 0;
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

TEST_F(CapturedTraining, HasTheBitsOfOtherTraining) { expect_same_bits(config(), 2); }

TEST_F(CapturedTraining, HasThemWithAShardedOptimizerAndCopiesInBf16) {
  TrainConfig sharded = config();
  sharded.shard_optimizer = true;
  sharded.precision = "bf16";
  sharded.evaluate_steps = 3;
  expect_same_bits(sharded, 2);
}

TEST_F(CapturedTraining, HasThemWithCompressedGradients) {
  TrainConfig compressed = config();
  compressed.gradient_compression = "bf16";
  expect_same_bits(compressed, 3);
}

}  // namespace
}  // namespace phalanx
