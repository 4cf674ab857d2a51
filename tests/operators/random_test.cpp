// SPDX-License-Identifier: Apache-2.0
// What operators that draw random numbers must keep: a draw depends on (seed, node, step, row of
// the global batch, element).
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "agreement.hpp"

namespace phalanx::operators_test {
namespace {

// Large enough that two draws agree by chance with a probability that does not matter.
constexpr std::int64_t kRows = 33;

std::vector<Subject> random_subjects() {
  std::vector<Subject> subjects;
  for (const Subject& s : all_subjects())
    if (s.op().random) subjects.push_back(s);
  return subjects;
}

std::string describe(const Subject& s) {
  return fmt::format("operator {}, case '{}', {}", s.op().name, s.chosen->name, name(s.dtype));
}

KernelRun run_forward_with(const Trial& trial, const Format& format, const RandomState& random) {
  KernelRun run = trial.forward(format);
  run.run(random);
  EXPECT_EQ(run.damage(), "");
  return run;
}

bool all_equal(const KernelRun& a, const KernelRun& b) {
  for (std::size_t i = 0; i < a.outputs(); ++i)
    if (!std::ranges::equal(a.output_bytes(i), b.output_bytes(i))) return false;
  return true;
}

TEST(RandomOperators, EqualRandomStatesGiveEqualBits) {
  for (const Subject& subject : random_subjects()) {
    SCOPED_TRACE(describe(subject));
    const auto trial = Trial::make(subject, kRows);
    for (const Format& format : trial->formats()) {
      const RandomState state{.seed = 11, .step = 5, .first_row = 2, .node = 3};
      EXPECT_TRUE(all_equal(run_forward_with(*trial, format, state),
                            run_forward_with(*trial, format, state)));
    }
  }
}

// A case that draws nothing, such as a ratio of zero, may give the same bits; one case of an
// operator must not.
TEST(RandomOperators, AnotherSeedStepNodeOrRowGivesOtherBits) {
  const RandomState state{.seed = 11, .step = 5, .first_row = 2, .node = 3};
  RandomState seed = state, step = state, node = state, row = state;
  ++seed.seed, ++step.step, ++node.node, ++row.first_row;
  for (const OpCases* cases : all_cases()) {
    if (!cases->op->random) continue;
    for (const RandomState& other : {seed, step, node, row}) {
      bool differs = false;
      for (const Subject& subject : random_subjects()) {
        if (subject.cases != cases) continue;
        const auto trial = Trial::make(subject, kRows);
        const Format plain = trial->formats().front();
        differs = differs || !all_equal(run_forward_with(*trial, plain, state),
                                        run_forward_with(*trial, plain, other));
      }
      EXPECT_TRUE(differs) << "operator " << cases->op->name
                           << fmt::format(
                                  ": seed {}, step {}, first_row {}, node {} "
                                  "draws what seed 11, step 5, first_row 2, node 3 draws",
                                  other.seed, other.step, other.first_row, other.node);
    }
  }
}

TEST(RandomOperators, APartOfABatchDrawsWhatItsRowsDrawInTheWhole) {
  constexpr std::int64_t kFirst = 13;
  for (const Subject& subject : random_subjects()) {
    SCOPED_TRACE(describe(subject));
    const auto whole = Trial::make(subject, kRows);
    const std::int64_t rows = whole->in()[0].shape[0];
    if (rows <= kFirst) continue;
    const Trial part = whole->rows_from(kFirst);
    const std::vector<Format> whole_formats = whole->formats(), part_formats = part.formats();
    ASSERT_EQ(whole_formats.size(), part_formats.size());
    for (std::size_t f = 0; f < whole_formats.size(); ++f) {
      const KernelRun all =
          run_forward_with(*whole, whole_formats[f], {.seed = 1, .step = 9, .first_row = 4});
      const KernelRun some =
          run_forward_with(part, part_formats[f], {.seed = 1, .step = 9, .first_row = 4 + kFirst});
      for (std::size_t i = 0; i < all.outputs(); ++i) {
        const Shape& shape = whole->out()[i].shape;
        if (whole->is_saved(i) || shape.rank() == 0 || shape[0] != rows) continue;
        const Values expected = all.output(i), found = some.output(i);
        const auto skipped = static_cast<std::ptrdiff_t>(kFirst * shape.product(1, shape.rank()));
        EXPECT_TRUE(
            std::equal(expected.begin() + skipped, expected.end(), found.begin(), found.end()))
            << "output " << i << ", memory format: " << whole_formats[f].name;
      }
    }
  }
}

TEST(RandomOperators, ADeviceGivesTheBitsOfTheCpuInEveryMemoryFormat) {
  if (tests_cpu()) GTEST_SKIP() << "the CPU is what is tested";
  const RandomState random{
      .seed = 0x123456789abcdefu, .step = 1u << 31, .first_row = 0xfffffff0u, .node = 77};
  Stream cpu{Device{}};
  for (const Subject& subject : random_subjects()) {
    SCOPED_TRACE(describe(subject));
    const auto trial = Trial::make(subject, kRows);
    for (const Format& format : trial->formats()) {
      const KernelRun on_device = run_forward_with(*trial, format, random);
      std::vector<ConstTensorView> in;
      for (std::size_t i = 0; i < format.in.size(); ++i)
        in.push_back({on_device.input_bytes(i).data(), format.in[i]});
      std::vector<GuardedBuffer> memory;
      std::vector<TensorView> out;
      for (const TensorType& type : format.out)
        out.push_back({memory.emplace_back(type.size_bytes()).data(), type});
      const OpSpec& op = subject.op();
      std::unique_ptr<OpState> state;
      const std::unique_ptr<bool[]> present(new bool[in.size() + out.size()]);
      std::fill_n(present.get(), in.size() + out.size(), true);
      if (op.cpu.prepare_forward != nullptr)
        state = op.cpu.prepare_forward({trial->attributes(),
                                        format.in,
                                        format.out,
                                        {present.get(), in.size()},
                                        {present.get(), out.size()},
                                        cpu.device()});
      std::vector<std::byte> workspace(state ? state->workspace_bytes() : 0);
      OpContext ctx{cpu, trial->attributes(), workspace, state.get(), random};
      op.cpu.forward(ctx, in, out);
      for (std::size_t i = 0; i < out.size(); ++i)
        EXPECT_TRUE(std::ranges::equal(memory[i].contents(), on_device.output_bytes(i)))
            << "output " << i << ", memory format: " << format.name;
    }
  }
}

// There is no oracle for random values, so the kernel's own forward pass with the same draws takes
// its place.
TEST(RandomOperators, GradientsBelongToTheDrawsOfTheForwardPass) {
  const RandomState random{.seed = 3, .step = 8, .first_row = 5, .node = 2};
  constexpr double kStep = 0x1p-7;
  for (const Subject& subject : random_subjects()) {
    if (test_kernels(subject.op()).backward == nullptr || subject.dtype != DType::kF32) continue;
    SCOPED_TRACE(describe(subject));
    const auto trial = Trial::make(subject, kRows);
    const std::vector<Values> w = trial->draw_gradients();
    for (const Format& format : trial->formats()) {
      KernelRun backward = trial->backward(format, run_forward_with(*trial, format, random), w);
      backward.run(random);
      EXPECT_EQ(backward.damage(), "");
      for (std::size_t i = 0; i < trial->in().size(); ++i) {
        if (!trial->is_differentiable(i)) continue;
        const Values direction = draw(Fill::kNormal, trial->in()[i], 1, 17 + i);
        const auto loss_at = [&](double h) {
          std::vector<Values> x = trial->x();
          for (std::size_t e = 0; e < direction.size(); ++e) x[i][e] += h * direction[e];
          KernelRun run = trial->forward(format, x);
          run.run(random);
          std::vector<Values> y;
          for (std::size_t o = 0; o < run.outputs(); ++o) y.push_back(run.output(o));
          return weighted_sum(w, y);
        };
        const Values dx = backward.output(i);
        double along = 0, length = 0;
        for (std::size_t e = 0; e < dx.size(); ++e) {
          along += dx[e] * direction[e];
          length += dx[e] * dx[e] * direction[e] * direction[e];
        }
        EXPECT_NEAR((loss_at(kStep) - loss_at(-kStep)) / (2 * kStep), along,
                    1e-3 * std::sqrt(length) + 1e-3)
            << "gradient of input " << i << ", memory format: " << format.name;
      }
    }
  }
}

}  // namespace
}  // namespace phalanx::operators_test
