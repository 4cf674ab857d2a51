// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "comm/gradient_reducer.hpp"
#include "comm/rank_layout.hpp"
#include "mpi_main.hpp"
#include "train/bucket_tuner.hpp"
#include "train/gradient_norm.hpp"
#include "train/optimizer.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kElements = 10'007;  // a prime, and no multiple of a block

/// One rank's training without a network: gradients are drawn from step, rank and element.
class Updates {
 public:
  Updates(const TrainConfig& config, bool scatter, Progress progress = Progress::kInline)
      : comm_(make_mpi_communicator(test_mpi(), progress, 60)),
        gradients_(arena()),
        parameters_(arena()),
        reducer_(*comm_, gradients_, {.bucket_bytes = 12'000, .scatter = scatter}, stream_),
        optimizer_(config, kElements, &reducer_, stream_) {
    for (std::int64_t i = 0; i < kElements; ++i) parameters_.as<float>()[i] = draw(i, 1000, 0);
  }

  double step(std::int64_t number) {
    for (std::int64_t i = 0; i < kElements; ++i)
      gradients_.as<float>()[i] = draw(i, static_cast<int>(number), comm_->rank());
    reducer_.finish(stream_);
    const double size = optimizer_.is_sharded()
                            ? norm_of_parts(gradients_, reducer_, *comm_, stream_)
                            : norm(gradients_);
    optimizer_.update({parameters_, gradients_, {}}, 0.01, 1 / size, number, stream_);
    return size;
  }
  std::vector<float> parameters() const { return values(parameters_); }
  std::vector<float> slot(std::size_t i) const {
    Tensor space;
    return values(optimizer_.whole_slot(i, space));
  }
  Optimizer& optimizer() { return optimizer_; }
  Communicator& comm() { return *comm_; }

 private:
  static float draw(std::int64_t i, int step, int rank) {
    return static_cast<float>((i * 7919 + step * 31 + rank * 104729) % 2003 - 1001) / 1001.0f;
  }
  TensorView arena() {
    return {comm_->allocate(kElements * sizeof(float), stream_), {DType::kF32, Shape{kElements}}};
  }
  static std::vector<float> values(ConstTensorView arena) {
    return {arena.as<float>(), arena.as<float>() + arena.numel()};
  }

  Stream stream_{Device{}};
  std::unique_ptr<Communicator> comm_;
  TensorView gradients_, parameters_;
  GradientReducer reducer_;
  Optimizer optimizer_;
};

TrainConfig adamw() {
  TrainConfig config;
  config.optimizer = "adamw";
  config.weight_decay = 0.1;
  return config;
}

TEST(ShardedOptimizer, GivesTheBitsOfAWholeOneForEveryOptimizer) {
  TrainConfig sgd;
  sgd.momentum = 0.9;
  TrainConfig plain;
  plain.momentum = 0;
  for (const TrainConfig& config : {sgd, plain, adamw()})
    for (const Progress progress : {Progress::kInline, Progress::kThread}) {
      Updates whole(config, false), parts(config, true, progress);
      for (int step = 0; step < 4; ++step) ASSERT_EQ(parts.step(step), whole.step(step));
      EXPECT_EQ(parts.parameters(), whole.parameters());
      ASSERT_EQ(parts.optimizer().slots(), whole.optimizer().slots());
      for (std::size_t i = 0; i < whole.optimizer().slots().size(); ++i)
        EXPECT_EQ(parts.slot(i), whole.slot(i));
    }
}

TEST(ShardedOptimizer, HoldsOnlyItsShareOfTheState) {
  Updates whole(adamw(), false), parts(adamw(), true);
  const auto all = static_cast<double>(whole.optimizer().state_bytes());
  const int ranks = test_mpi().size();
  EXPECT_EQ(whole.optimizer().state_bytes(), 2 * kElements * sizeof(float));
  // The cut is at multiples of 1024 elements in each of four buckets.
  EXPECT_LE(static_cast<double>(parts.optimizer().state_bytes()),
            ranks == 1 ? all : all / ranks + 4 * 2 * 1024 * sizeof(float));
}

TEST(ShardedOptimizer, KeepsItsStateWhenTheBucketsChange) {
  Updates whole(adamw(), false), parts(adamw(), true);
  for (int step = 0; step < 6; ++step) {
    ASSERT_EQ(parts.step(step), whole.step(step));
    parts.optimizer().set_bucket_bytes(static_cast<std::size_t>(4096) << (step % 4));
  }
  EXPECT_EQ(parts.parameters(), whole.parameters());
}

TEST(ShardedOptimizer, TakesOverAStateThatOthersHeldInOtherParts) {
  Updates before(adamw(), true), after(adamw(), true), whole(adamw(), false);
  before.step(0);
  whole.step(0);
  after.optimizer().set_bucket_bytes(4096);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::vector<float> slot = before.slot(i);
    after.optimizer().set_slot(i, {slot.data(), {DType::kF32, Shape{kElements}}});
    EXPECT_EQ(after.slot(i), whole.slot(i));
  }
}

TEST(BucketTuner, TriesEverySizeAndKeepsTheFastest) {
  if (test_mpi().size() == 1) GTEST_SKIP() << "one rank has nothing to tune";
  Stream stream{Device{}};
  const auto comm = make_mpi_communicator(test_mpi(), Progress::kInline, 60);
  constexpr std::int64_t kMany = 1'500'000;  // 5.7 MiB
  const TensorView gradients{comm->allocate(kMany * sizeof(float), stream),
                             {DType::kF32, Shape{kMany}}};
  GradientReducer reducer(*comm, gradients, {}, stream);
  Optimizer optimizer(adamw(), kMany, &reducer, stream);
  const TrainConfig config;
  BucketTuner tuner(config, &reducer, optimizer, *comm, stream);
  ASSERT_EQ(tuner.trials().size(), 4u);  // 1, 2, 4 MiB, and all at once
  int steps = 0;
  // 2 MiB is fastest but for one slow step; rank 1 finds 4 MiB slower than the others do.
  for (bool done = false; !done && steps < 100; ++steps) {
    const bool is_two = tuner.bucket_bytes() == std::size_t{2} << 20;
    const bool is_four = tuner.bucket_bytes() == std::size_t{4} << 20;
    double seconds = is_two ? 0.5 : is_four ? (comm->rank() == 1 ? 0.9 : 0.4) : 0.8;
    if (is_two && steps % 5 == 0) seconds = 7;
    done = tuner.after_step(seconds);
  }
  EXPECT_TRUE(tuner.is_done());
  EXPECT_EQ(tuner.bucket_bytes(), std::size_t{2} << 20);
  EXPECT_EQ(reducer.buckets(), 4);  // 1 MiB first, then two of 2 MiB and what is left
  EXPECT_FALSE(tuner.after_step(0.1));
  TrainConfig fixed;
  fixed.bucket = "3";
  const BucketTuner nothing(fixed, &reducer, optimizer, *comm, stream);
  EXPECT_TRUE(nothing.is_done());
  EXPECT_EQ(nothing.bucket_bytes(), std::size_t{3} << 20);
}

}  // namespace
}  // namespace phalanx
