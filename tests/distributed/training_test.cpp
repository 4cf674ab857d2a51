// SPDX-License-Identifier: Apache-2.0
// k ranks with a batch of b each train as one rank with a batch of k * b: same samples, same masks, sums in another order.
#include <fmt/format.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "comm/rank_layout.hpp"
#include "mpi_main.hpp"
#include "train/divergence.hpp"
#include "train/evaluate.hpp"
#include "train/trainer.hpp"
#include "train/training_step.hpp"

namespace phalanx {
namespace {

/// Two classes (or a real target) that depend on the features, so that training has something to learn.
class Blobs final : public RowSource {
 public:
  Blobs(std::int64_t rows, Shape sample, TargetKind target, std::int64_t targets = 1)
      : rows_(rows) {
    info_.kind = sample.rank() == 3 ? SampleKind::kImage : SampleKind::kTable;
    info_.sample = sample;
    info_.target = target;
    info_.classes = target == TargetKind::kClass ? 3 : 0;
    const auto channels = static_cast<std::size_t>(sample[0]);
    info_.mean.assign(channels, 0.1f);
    info_.std.assign(channels, 0.9f);
    if (target == TargetKind::kValues) {
      info_.targets = targets;
      info_.target_mean.assign(static_cast<std::size_t>(targets), 0.2f);
      info_.target_std.assign(static_cast<std::size_t>(targets), 1.5f);
    }
  }
  const DatasetInfo& info() const noexcept override { return info_; }
  std::int64_t size() const noexcept override { return rows_; }
  void read_rows(std::span<const std::int64_t> rows, std::byte* x, std::byte* y) override {
    const std::int64_t values = info_.sample.numel();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      auto* to = reinterpret_cast<float*>(x) + static_cast<std::int64_t>(i) * values;
      for (std::int64_t v = 0; v < values; ++v)
        to[v] = std::sin(static_cast<float>((rows[i] + 1) * (v + 3))) +
                static_cast<float>(rows[i] % 3) * 0.5f;
      if (info_.target == TargetKind::kClass)
        reinterpret_cast<std::int64_t*>(y)[i] = rows[i] % 3;
      else
        for (std::int64_t k = 0; k < info_.targets; ++k)
          reinterpret_cast<float*>(y)[static_cast<std::int64_t>(i) * info_.targets + k] =
              static_cast<float>((rows[i] + k) % 3) - 0.7f * to[k % values];
    }
  }

 private:
  DatasetInfo info_;
  std::int64_t rows_;
};

struct Trained {
  std::map<std::string, std::vector<float>> parameters;
  double loss = 0;
  Evaluation test;
};

Trained train(const TrainConfig& config, RowSource& source, const RankLayout& layout,
              Communicator& comm, int steps) {
  Stream stream{Device{}};
  const Partition partition = parse_partition(config.partition);
  NetworkOptions options{.model = model_spec(config, source.info()),
                         .loss = resolve_loss(config, source.info()),
                         .precision = config.precision,
                         .sums_states = config.reproducible};
  if (partition == Partition::kColumn && layout.size > 1)
    options.columns = columns(source.info().sample.numel(), layout.rank, layout.size);
  Network network(options, 8, stream, &comm);
  network.initialise(static_cast<std::uint64_t>(config.seed));
  const auto reducer = make_gradient_reducer(config, network, comm, stream);
  Optimizer optimizer(config, network.parameters().parameters().numel(), reducer.get(), stream);
  TrainingStep step(config, network, optimizer, reducer.get(), comm, stream);
  const auto sampler = [&](bool shuffle) {
    return Sampler({.rows = source.size(),
                    .partition = partition,
                    .batch_size = config.batch_size,
                    .micro_batches = shuffle ? config.accumulate : 1,
                    .rank = layout.rank,
                    .size = layout.size,
                    .virtual_shards = shuffle && config.reproducible
                                          ? static_cast<int>(config.virtual_shards)
                                          : 0,
                    .seed = 5,
                    .shuffle = shuffle});
  };
  Loader loader(source, sampler(true), {}, config.prefetch);
  loader.begin(0);
  Trained result;
  for (int i = 0; i < steps; ++i) {
    const StepReport report =
        step.run(loader, i, {.learning_rate = config.learning_rate, .want_norm = true});
    result.loss = report.loss_sum / static_cast<double>(report.samples);
  }
  loader.end();
  Loader test(source, sampler(false), {}, 0);
  result.test = evaluate(network, test, comm, stream);
  for (const ParameterSlot& slot : network.parameters().layout().parameters()) {
    const auto* values = network.parameters().parameter(slot.name).as<float>();
    result.parameters[slot.name].assign(values, values + slot.shape.numel());
  }
  for (const ParameterSlot& slot : network.parameters().layout().states()) {
    const auto* values = network.parameters().state(slot.name).as<float>();
    result.parameters[slot.name].assign(values, values + slot.shape.numel());
  }
  return result;
}

/// The same run on the ranks of this job and on one rank must agree.
void expect_same_as_one_rank(const TrainConfig& config, RowSource& source, Progress progress,
                             int steps, float tolerance = 2e-5f) {
  const RankLayout layout = make_rank_layout(test_mpi());
  const auto comm = make_mpi_communicator(test_mpi(), progress, 60);
  const Trained many = train(config, source, layout, *comm, steps);
  TrainConfig alone = config;
  if (config.partition == "column") alone.partition = "shuffle";
  const auto single = make_single_communicator();
  const Trained one = train(alone, source, single_rank_layout(), *single, steps);
  for (const auto& [name, expected] : one.parameters) {
    if (config.partition == "column" && name == "dense1.weight")
      continue;  // in parts; all others depend on it
    const std::vector<float>& found = many.parameters.at(name);
    ASSERT_EQ(found.size(), expected.size()) << name;
    float worst = 0, largest = 1;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::abs(found[i] - expected[i]));
      largest = std::max(largest, std::abs(expected[i]));
    }
    EXPECT_LE(worst, tolerance * largest) << name;
  }
  EXPECT_NEAR(many.loss, one.loss, 1e-4 * std::max(1.0, std::abs(one.loss)));
  EXPECT_EQ(many.test.samples, one.test.samples);
  EXPECT_NEAR(many.test.loss, one.test.loss, 1e-4 * std::max(1.0, one.test.loss));
  EXPECT_TRUE(std::isfinite(one.loss));
}

TrainConfig mlp() {
  TrainConfig config;
  config.layer = {"dense 16", "relu", "dropout 0.3", "dense 3"};
  config.batch_size = 24;
  config.learning_rate = 0.05;
  return config;
}

TEST(Training, IsTheSameOnAnyNumberOfRanksWithEveryOptimizer) {
  Blobs source(101, Shape{7}, TargetKind::kClass);  // the last batch is ragged: 101 = 4 * 24 + 5
  for (const auto& [name, momentum, nesterov] : {std::tuple{"sgd", 0.0, false},
                                                 {"sgd", 0.9, false},
                                                 {"sgd", 0.9, true},
                                                 {"adam", 0.0, false},
                                                 {"adamw", 0.0, false}}) {
    SCOPED_TRACE(fmt::format("{} momentum {} nesterov {}", name, momentum, nesterov));
    TrainConfig config = mlp();
    config.optimizer = name;
    config.momentum = momentum;
    config.nesterov = nesterov;
    config.weight_decay = 0.01;
    config.learning_rate = config.optimizer == "sgd" ? 0.05 : 0.005;
    // Adam divides by the root of tiny second moments in its first steps, which enlarges rounding.
    const float tolerance = config.optimizer == "sgd" ? 2e-5f : 2e-3f;
    expect_same_as_one_rank(config, source, Progress::kInline, 12, tolerance);
  }
}

TEST(Training, IsTheSameWithAProgressThreadAndManyBuckets) {
  Blobs source(64, Shape{33}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.bucket = "0.001";
  expect_same_as_one_rank(config, source, Progress::kThread, 8);
}

TEST(Training, GivesTheSameBitsWithAShardedOptimizer) {
  Blobs source(101, Shape{37}, TargetKind::kClass);
  const RankLayout layout = make_rank_layout(test_mpi());
  for (const char* precision : {"f32", "bf16"})
    for (const Progress progress : {Progress::kInline, Progress::kThread}) {
      const auto comm = make_mpi_communicator(test_mpi(), progress, 60);
      TrainConfig config = mlp();
      config.layer = {"dense 53", "batch_norm", "relu", "dense 29", "relu", "dense 3"};
      config.optimizer = "adamw";
      config.precision = precision;
      config.clip_norm = 0.1;
      config.bucket = "0.004";
      const Trained whole = train(config, source, layout, *comm, 12);
      config.shard_optimizer = true;
      const Trained parts = train(config, source, layout, *comm, 12);
      EXPECT_EQ(parts.parameters, whole.parameters);
      EXPECT_EQ(parts.loss, whole.loss);
    }
}

TEST(Training, LearnsWithCompressedGradients) {
  Blobs source(96, Shape{33}, TargetKind::kClass);
  const RankLayout layout = make_rank_layout(test_mpi());
  const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
  TrainConfig config = mlp();
  const Trained exact = train(config, source, layout, *comm, 60);
  config.gradient_compression = "bf16";
  const Trained compressed = train(config, source, layout, *comm, 60);
  EXPECT_EQ(compressed.parameters == exact.parameters, layout.size == 1);
  EXPECT_NEAR(compressed.test.loss, exact.test.loss, 0.02 * exact.test.loss);
  config.shard_optimizer = true;
  EXPECT_EQ(train(config, source, layout, *comm, 60).parameters, compressed.parameters);
}

TEST(Training, IsTheSameWithAccumulationAndClipping) {
  Blobs source(101, Shape{7}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.accumulate = 5;
  config.clip_norm = 0.1;
  expect_same_as_one_rank(config, source, Progress::kInline, 10);
}

TEST(Training, IsTheSameForAConvolutionNet) {
  Blobs source(40, Shape{3, 8, 8}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.layer = {"conv 16 3x3 pad 1", "relu", "max_pool 2x2", "conv 8 3x3", "tanh", "dense 3"};
  config.batch_size = 16;
  expect_same_as_one_rank(config, source, Progress::kInline, 6);
}

TEST(Training, IsTheSameForRealTargets) {
  Blobs source(50, Shape{5}, TargetKind::kValues);
  TrainConfig config = mlp();
  config.layer = {"dense 9", "sigmoid", "dense 1"};
  expect_same_as_one_rank(config, source, Progress::kInline, 10);
}

TEST(Training, FitsTenTargetsAtOnce) {
  Blobs source(80, Shape{10}, TargetKind::kValues, 10);
  TrainConfig config = mlp();
  config.layer = {"dense 20", "relu", "dense 10"};
  config.optimizer = "adam";
  config.learning_rate = 0.001;
  expect_same_as_one_rank(config, source, Progress::kInline, 10, 2e-3f);
  config.learning_rate = 0.01;
  const auto single = make_single_communicator();
  const double early = train(config, source, single_rank_layout(), *single, 1).test.loss;
  const double late = train(config, source, single_rank_layout(), *single, 200).test.loss;
  EXPECT_LT(late, 0.5 * early);
}

TEST(Training, GivesRanksWithoutSamplesNothingToDo) {
  Blobs source(3, Shape{4}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.batch_size = 2;  // fewer than 4 ranks, and the last batch has one sample
  expect_same_as_one_rank(config, source, Progress::kInline, 7);
}

TEST(Training, ByColumnsIsTheSameAsByRows) {
  Blobs source(60, Shape{11}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.partition = "column";
  expect_same_as_one_rank(config, source, Progress::kInline, 10);
}

TEST(Training, ByOwnedRowsSeesEverySampleOncePerEpoch) {
  for (const char* partition : {"range", "hash"}) {
    Blobs source(50, Shape{4}, TargetKind::kClass);
    TrainConfig config = mlp();
    config.partition = partition;
    const RankLayout layout = make_rank_layout(test_mpi());
    const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
    const Sampler sampler({.rows = 50,
                           .partition = parse_partition(partition),
                           .batch_size = 24,
                           .rank = layout.rank,
                           .size = layout.size});
    std::vector<float> seen(50, 0.0f);
    BatchSlice slice;
    for (std::int64_t s = 0; s < sampler.steps_per_epoch(); ++s) {
      sampler.slice(3, s, 0, slice);
      for (std::int64_t row : slice.rows) seen[static_cast<std::size_t>(row)] += 1;
    }
    Stream stream{Device{}};
    comm->all_reduce({seen.data(), {DType::kF32, Shape{50}}}, ReduceOp::kSum, stream);
    EXPECT_THAT(seen, ::testing::Each(1.0f)) << partition;
    EXPECT_TRUE(std::isfinite(train(config, source, layout, *comm, 5).loss));
  }
}

TEST(Divergence, IsFoundAndNamedOnEveryRank) {
  const RankLayout layout = make_rank_layout(test_mpi());
  if (layout.size == 1) return;
  const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
  Stream stream{Device{}};
  Blobs source(8, Shape{7}, TargetKind::kClass);
  Network network({.model = model_spec(mlp(), source.info()), .loss = "softmax_cross_entropy"}, 8,
                  stream);
  network.initialise(1);
  check_divergence(network.parameters(), "", layout, *comm, stream);
  auto* bias = network.parameters().parameter("dense2.bias").as<float>();
  const float before = bias[1];
  if (layout.rank == 1) bias[1] = std::nextafter(before, 1.0f);  // one bit
  try {
    check_divergence(network.parameters(), "", layout, *comm, stream);
    ADD_FAILURE() << "not found";
  } catch (const DivergenceError& e) {
    // Of two, none is more common; rank 0's value counts.
    EXPECT_EQ(std::string(e.what()),
              "ranks hold different parameters: 'dense2.bias' on rank 1 on " + layout.hosts[1]);
  }
  check_divergence(network.parameters(), "dense2.bias", layout, *comm, stream);
  bias[1] = before;
  check_divergence(network.parameters(), "", layout, *comm, stream);
}

// --- reproducible: the same bits

/// On the ranks of this job, on one rank, and on one rank with two threads.
void expect_same_bits(TrainConfig config, RowSource& source, int steps) {
  config.reproducible = true;
  const RankLayout layout = make_rank_layout(test_mpi());
  const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
  const auto single = make_single_communicator();
  const Trained many = train(config, source, layout, *comm, steps);
  const Trained one = train(config, source, single_rank_layout(), *single, steps);
  EXPECT_EQ(many.parameters, one.parameters);
  EXPECT_EQ(many.loss, one.loss);
  omp_set_num_threads(2);
  const Trained two_threads = train(config, source, single_rank_layout(), *single, steps);
  omp_set_num_threads(1);
  EXPECT_EQ(two_threads.parameters, one.parameters);
  EXPECT_TRUE(std::isfinite(one.loss));
}

TrainConfig cnn() {
  TrainConfig config = mlp();
  config.layer = {"conv 16 3x3 pad 1",  "batch_norm", "relu",   "max_pool 2x2",
                  "conv 8 3x3 no-bias", "batch_norm", "tanh",   "dropout 0.3",
                  "dense 33",           "leaky_relu", "dense 3"};
  return config;
}

TEST(ReproducibleTraining, GivesTheSameBitsForAnMlp) {
  Blobs source(101, Shape{1300}, TargetKind::kClass);  // batches of 24, then one of 5 rows
  for (const char* optimizer : {"sgd", "adamw"}) {
    TrainConfig config = mlp();
    config.layer = {"dense 70", "relu", "dropout 0.3", "dense 3"};
    config.optimizer = optimizer;
    config.momentum = 0.9;
    config.learning_rate = 0.005;
    expect_same_bits(config, source, 12);
  }
}

TEST(ReproducibleTraining, GivesTheSameBitsForAConvolutionNetWithBatchNorm) {
  Blobs source(85, Shape{3, 9, 9}, TargetKind::kClass);
  for (const char* optimizer : {"sgd", "adamw"}) {
    TrainConfig config = cnn();
    config.optimizer = optimizer;
    config.learning_rate = 0.005;
    expect_same_bits(config, source, 9);
  }
}

TEST(ReproducibleTraining, GivesTheSameBitsInBf16WithAccumulationAndClipping) {
  Blobs source(85, Shape{3, 9, 9}, TargetKind::kClass);
  TrainConfig config = cnn();
  config.precision = "bf16";
  config.accumulate = 3;
  config.clip_norm = 0.1;
  expect_same_bits(config, source, 9);
}

TEST(ReproducibleTraining, GivesTheSameBitsWithFewerSamplesThanShards) {
  Blobs source(7, Shape{5}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.batch_size = 5;
  expect_same_bits(config, source, 6);
}

TEST(ReproducibleTraining, GivesTheSameBitsWithAShardedOptimizer) {
  Blobs source(85, Shape{3, 9, 9}, TargetKind::kClass);
  for (const char* precision : {"f32", "bf16"}) {
    TrainConfig config = cnn();
    config.optimizer = "adamw";
    config.learning_rate = 0.005;
    config.precision = precision;
    config.clip_norm = 0.1;
    config.accumulate = 3;
    config.shard_optimizer = true;
    config.bucket = "0.004";
    expect_same_bits(config, source, 9);
  }
}

TEST(ReproducibleTraining, LearnsWhatOrdinaryTrainingLearns) {
  Blobs source(101, Shape{1300}, TargetKind::kClass);
  TrainConfig config = mlp();
  config.layer = {"dense 70", "relu", "dropout 0.3", "dense 3"};
  const auto single = make_single_communicator();
  const Trained ordinary = train(config, source, single_rank_layout(), *single, 10);
  config.reproducible = true;
  const Trained reproducible = train(config, source, single_rank_layout(), *single, 10);
  for (const auto& [name, expected] : ordinary.parameters)
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(reproducible.parameters.at(name)[i], expected[i], 2e-5f) << name << " " << i;
}

}  // namespace
}  // namespace phalanx
