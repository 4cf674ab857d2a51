// SPDX-License-Identifier: Apache-2.0
// Convolutions of sizes that the harness cannot afford, where other algorithms begin: a batch gives what its images give.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <array>
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

/// Sets the number of OpenMP threads while it lives.
class Threads {
 public:
  explicit Threads(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  ~Threads() { omp_set_num_threads(before_); }

 private:
  int before_;
};

// With more threads than calls each call goes to all of them, else each to one. Winograd's dx takes 8 images a call here.
TEST_P(Convolution, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const std::int64_t n : {std::int64_t{1}, kImages}) {
    const Values few_x = n == 1 ? part(x, 0) : x, few_dy = n == 1 ? part(dy, 0) : dy;
    const Values y = forward(n, few_x);
    const std::vector<Values> gradients = backward(n, few_x, few_dy);
    for (const int threads : {1, 2, 3}) {
      const Threads set(threads);
      EXPECT_EQ(forward(n, few_x), y) << n << " images, " << threads << " threads";
      EXPECT_EQ(backward(n, few_x, few_dy), gradients) << n << " images, " << threads << " threads";
    }
  }
}

TEST_P(Convolution, GivesGradientsOfABatchThatItsCallsDoNotDivide) {
  constexpr std::int64_t kOdd = 15;
  const auto odd = [&](const Values& all) {
    return Values(all.begin(),
                  all.begin() + static_cast<std::ptrdiff_t>(all.size()) / kImages * kOdd);
  };
  const Values all = backward(kImages, x, dy)[0];
  const Values some = backward(kOdd, odd(x), odd(dy))[0];
  EXPECT_LT(distance(some, odd(all)), 5e-6);
}

INSTANTIATE_TEST_SUITE_P(Blocks, Convolution, testing::Values(16, kChannels),
                         [](const auto& of) { return "Of" + std::to_string(of.param); });

// --- pads: rows above and below, columns left and right

using Pads = std::array<std::int64_t, 4>;  // above, left, below, right: as ONNX has them

class PaddedConvolution : public testing::TestWithParam<Pads> {};

/// In double, of one image.
Values convolve(const Values& x, const Values& w, const Pads& pads, std::int64_t h,
                std::int64_t k) {
  const auto at = [&](std::int64_t c, std::int64_t row, std::int64_t column) {
    const bool is_inside = row >= 0 && row < kSide && column >= 0 && column < kSide;
    return is_inside ? x[static_cast<std::size_t>((c * kSide + row) * kSide + column)] : 0.0;
  };
  Values y;
  for (std::int64_t o = 0; o < kChannels; ++o)
    for (std::int64_t p = 0; p < h; ++p)
      for (std::int64_t q = 0; q < k; ++q) {
        double sum = 0;
        const double* of_o = w.data() + o * kChannels * 9;
        for (std::int64_t c = 0; c < kChannels; ++c)
          for (std::int64_t cell = 0; cell < 9; ++cell)
            sum += of_o[c * 9 + cell] * at(c, p - pads[0] + cell / 3, q - pads[1] + cell % 3);
        y.push_back(sum);
      }
  return y;
}

TEST_P(PaddedConvolution, GivesTheSumsOfItsWindows) {
  if (!tests_cpu()) GTEST_SKIP() << "a GPU has no algorithm that begins at these sizes";
  const Pads pads = GetParam();
  const Attributes attributes = {{"pads", Ints(pads.begin(), pads.end())}};
  const std::int64_t h = kSide + pads[0] + pads[2] - 2, k = kSide + pads[1] + pads[3] - 2;
  const TensorType x_type = images(1, 16), y_type(DType::kF32, Shape{1, kChannels, h, k}, 16);
  const Values x = draw(Fill::kNormal, images(1, 1), 1, 1), w = draw(Fill::kNormal, kWeights, 1, 2);
  KernelRun run(find_operator("conv"), attributes, false);
  run.add_input(x_type, x);
  run.add_input(kWeights, w);
  run.add_output(y_type);
  run.prepare();
  run.run();
  EXPECT_EQ(run.damage(), "");
  EXPECT_LT(distance(run.output(0), convolve(x, w, pads, h, k)), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Pads, PaddedConvolution,
                         testing::Values(Pads{0, 0, 0, 0}, Pads{1, 1, 1, 1}, Pads{2, 2, 2, 2},
                                         Pads{0, 1, 2, 1}),
                         [](const auto& of) { return "Of" + std::to_string(of.index); });

}  // namespace
}  // namespace phalanx::operators_test
