// SPDX-License-Identifier: Apache-2.0
// Convolutions of sizes that the harness cannot afford, where other algorithms begin: a batch gives what its images give.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernel_run.hpp"

namespace phalanx::operators_test {
namespace {

constexpr std::int64_t kImages = 16, kChannels = 64, kSide = 16;
const Attributes kAttributes = {{"pads", Ints{1, 1, 1, 1}}};

TensorType images(std::int64_t n, std::int64_t block) {
  return {DType::kF32, Shape{n, kChannels, kSide, kSide}, block};
}
const TensorType kWeights(DType::kF32, Shape{kChannels, kChannels, 3, 3});
const TensorType kBias(DType::kF32, Shape{kChannels});

Values part(const Values& of_batch, std::int64_t image) {
  const auto size = of_batch.size() / static_cast<std::size_t>(kImages);
  const auto begin = of_batch.begin() + static_cast<std::ptrdiff_t>(size) * image;
  return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

double distance(const Values& a, const Values& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

class Convolution : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override {
    if (!tests_cpu()) GTEST_SKIP() << "a GPU has no algorithm that begins at these sizes";
  }

  const OpSpec& op = find_operator("conv");
  const std::int64_t block = GetParam();
  const Values x = draw(Fill::kNormal, images(kImages, block), 1, 1),
               w = draw(Fill::kNormal, kWeights, 1, 2), b = draw(Fill::kNormal, kBias, 1, 3),
               dy = draw(Fill::kNormal, images(kImages, block), 1, 4);

  Values forward(std::int64_t n, const Values& of_x) const {
    KernelRun run(op, kAttributes, false);
    run.add_input(images(n, block), of_x);
    run.add_input(kWeights, w);
    run.add_input(kBias, b);
    run.add_output(images(n, block));
    run.prepare();
    run.run();
    EXPECT_EQ(run.damage(), "");
    return run.output(0);
  }
  std::vector<Values> backward(std::int64_t n, const Values& of_x, const Values& of_dy) const {
    KernelRun run(op, kAttributes, true);
    run.add_input(images(n, block), of_x);
    run.add_input(kWeights, w);
    run.add_absent_input();
    run.add_absent_input();
    run.add_input(images(n, block), of_dy);
    run.add_output(images(n, block));
    run.add_output(kWeights);
    run.add_output(kBias);
    run.prepare();
    run.run();
    EXPECT_EQ(run.damage(), "");
    return {run.output(0), run.output(1), run.output(2)};
  }
};

TEST_P(Convolution, GivesAnImageTheSameBitsInEveryBatch) {
  const Values whole = forward(kImages, x);
  for (const std::int64_t image : {0, 1, 7, 15})
    EXPECT_EQ(forward(1, part(x, image)), part(whole, image)) << image;
}

// One image is too little for Winograd's way to dx and dw: so these are the sums that they should be.
TEST_P(Convolution, GivesABatchTheGradientsOfItsImages) {
  const std::vector<Values> whole = backward(kImages, x, dy);
  Values dw(whole[1].size(), 0.0), db(whole[2].size(), 0.0);
  for (std::int64_t image = 0; image < kImages; ++image) {
    const std::vector<Values> one = backward(1, part(x, image), part(dy, image));
    EXPECT_LT(distance(part(whole[0], image), one[0]), 5e-6) << image;
    for (std::size_t i = 0; i < dw.size(); ++i) dw[i] += one[1][i];
    for (std::size_t i = 0; i < db.size(); ++i) db[i] += one[2][i];
  }
  EXPECT_LT(distance(whole[1], dw), 5e-6);
  EXPECT_LT(distance(whole[2], db), 5e-6);
}

INSTANTIATE_TEST_SUITE_P(Blocks, Convolution, testing::Values(16, kChannels),
                         [](const auto& of) { return "Of" + std::to_string(of.param); });

}  // namespace
}  // namespace phalanx::operators_test
