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

constexpr std::int64_t kElements = 700'001;  // a prime, beyond two units

/// One rank's training without a network: gradients are drawn from step, rank and element.
class Updates {
 public:
  Updates(const TrainConfig& config, bool scatter, Progress progress = Progress::kInline)
      : comm_(make_mpi_communicator(test_mpi(), progress, 60)),
        gradients_(arena()),
        parameters_(arena()),
        reducer_(*comm_, gradients_, {.bucket_bytes = 300'000, .scatter = scatter}, stream_),
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
  /// Empty on ranks other than 0 of a sharded optimizer.
  std::vector<float> slot(std::size_t i) const {
    Tensor space;
    const TensorView arena = optimizer_.whole_slot(i, space);
    return arena ? values(arena) : std::vector<float>();
  }
  Optimizer& optimizer() { return optimizer_; }
  Communicator& comm() { return *comm_; }
  void set_bucket_bytes(std::size_t bytes) { reducer_.set_bucket_bytes(bytes); }

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
        EXPECT_EQ(parts.slot(i), parts.comm().rank() == 0 ? whole.slot(i) : std::vector<float>());
    }
}

TEST(ShardedOptimizer, HoldsOnlyItsShareOfTheState) {
  Updates whole(adamw(), false), parts(adamw(), true);
  const auto all = static_cast<double>(whole.optimizer().state_bytes());
  const int ranks = test_mpi().size();
  EXPECT_EQ(whole.optimizer().state_bytes(), 2 * kElements * sizeof(float));
  // The cut is at multiples of 1024 elements in each of three units.
  EXPECT_LE(static_cast<double>(parts.optimizer().state_bytes()),
            ranks == 1 ? all : all / ranks + 3 * 2 * 1024 * sizeof(float));
}

TEST(ShardedOptimizer, DoesNotMindWhenTheBucketsChange) {
  Updates whole(adamw(), false), parts(adamw(), true);
  for (int step = 0; step < 6; ++step) {
    ASSERT_EQ(parts.step(step), whole.step(step));
    parts.set_bucket_bytes(static_cast<std::size_t>(1 << 20) * (1 + step % 4));
  }
  EXPECT_EQ(parts.parameters(), whole.parameters());
}

TEST(ShardedOptimizer, TakesOverAStateThatAWholeOneHeld) {
  Updates whole(adamw(), false), parts(adamw(), true), after(adamw(), true);
  whole.step(0);
  parts.step(0);
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<float> slot = whole.slot(i);
    Stream stream{Device{}};
    const TensorView view{slot.data(), {DType::kF32, Shape{kElements}}};
    after.comm().broadcast(view, 0, stream);
    after.optimizer().set_slot(i, view);
    EXPECT_EQ(after.slot(i), parts.slot(i));
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
  const TrainConfig config;
  BucketTuner tuner(config, &reducer, *comm, stream);
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
  const BucketTuner nothing(fixed, &reducer, *comm, stream);
  EXPECT_TRUE(nothing.is_done());
  EXPECT_EQ(nothing.bucket_bytes(), std::size_t{3} << 20);
}

}  // namespace
}  // namespace phalanx
