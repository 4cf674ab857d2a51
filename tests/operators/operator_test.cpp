// SPDX-License-Identifier: Apache-2.0
// What every operator must keep, checked for every operator, case and floating type of the build.
#include <fmt/format.h>

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cctype>
#include <functional>

#include "agreement.hpp"

namespace phalanx::operators_test {
namespace {

constexpr std::int64_t kSmall = 33;

class Operator : public testing::TestWithParam<Subject> {
 protected:
  const Subject& subject() const { return GetParam(); }

  /// Calls check(trial) for every size; failures name the size.
  template <class F>
  void for_each_size(F check) {
    for_each_size_of(subject().sizes(), check);
  }

  template <class F>
  void for_each_size_of(const std::vector<std::int64_t>& sizes, F check) {
    for (const std::int64_t n : sizes) {
      SCOPED_TRACE(fmt::format("operator {}, case '{}', {}, n = {}", subject().op().name,
                               subject().chosen->name, name(subject().dtype), n));
      const auto trial = Trial::make(subject(), n);
      if (trial) check(*trial, n);
      if (HasFatalFailure()) return;
    }
  }

  /// Calls check(format) for the plain format and, of those that blocks allow, all of them or,
  /// where n is large, one.
  template <class F>
  void for_each_format(const Trial& trial, std::int64_t n, F check) {
    const std::vector<Format> formats = trial.formats();
    for (std::size_t i = 0; i < formats.size(); ++i) {
      if (n > kSmall && i > 0 && i != 1 + static_cast<std::size_t>(n / 2) % (formats.size() - 1))
        continue;
      SCOPED_TRACE("memory format: " + formats[i].name);
      check(formats[i]);
    }
  }

  double budget(std::int64_t n) const {
    return n > kSmall || subject().dtype != DType::kF32 ? 2e6 : 1e7;
  }
};

class OperatorWithOracle : public Operator {};
class OperatorWithGradient : public Operator {};
class OperatorWithGradientAndOracle : public Operator {};
class OperatorInPlace : public Operator {};

void run_undamaged(KernelRun& run, std::uint32_t accumulate = 0) {
  run.run({}, accumulate);
  ASSERT_EQ(run.damage(), "");
}

TEST_P(OperatorWithOracle, AgreesWithItInEveryMemoryFormat) {
  for_each_size([&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> expected = trial.oracle(trial.x());
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun run = trial.forward(format);
      run_undamaged(run);
      for (std::size_t i = 0; i < trial.out().size(); ++i)
        if (!trial.is_saved(i) && run.has_output(i)) {
          Subject judged = subject();
          if (is_float(trial.out()[i].dtype)) judged.dtype = trial.out()[i].dtype;
          EXPECT_TRUE(agrees(judged, fmt::format("output {}", i), trial.out()[i].shape, expected[i],
                             run.output(i)));
        }
    });
  });
}

TEST_P(OperatorWithGradientAndOracle, AgreesWithDifferencesOfItInEveryMemoryFormat) {
  for_each_size([&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients();
    std::vector<ExpectedGradient> expected(trial.in().size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (trial.is_differentiable(i)) expected[i] = differentiate_oracle(trial, i, w, budget(n));
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun forward = trial.forward(format);
      run_undamaged(forward);
      KernelRun backward = trial.backward(format, forward, w);
      run_undamaged(backward);
      for (std::size_t i = 0; i < expected.size(); ++i)
        if (trial.is_differentiable(i)) {
          EXPECT_TRUE(agrees(subject(), fmt::format("gradient of input {}", i), trial.in()[i].shape,
                             expected[i], backward.output(i)));
        }
    });
  });
}

// Sizes for properties that need no oracle: one small and one that is large, if the case has one.
std::vector<std::int64_t> two_sizes(const Subject& subject) {
  const std::vector<std::int64_t> sizes = subject.sizes();
  std::vector<std::int64_t> two;
  for (std::int64_t n : sizes)
    if (n > 0 && (n == kSmall || n == sizes.back())) two.push_back(n);
  return two;
}

// Parameters are plain f32.
bool may_be_a_parameter(const Trial& trial, const Format& format, std::size_t input) {
  return trial.is_differentiable(input) && (trial.op().parameter_inputs >> input & 1u) != 0 &&
         (format.in[input].dtype == DType::kF32 || trial.subject().is_weight(input)) &&
         format.in[input].channel_block == 1;
}

void expect_same_outputs(const KernelRun& expected, const KernelRun& found,
                         const std::string& what) {
  for (std::size_t i = 0; i < expected.outputs(); ++i)
    if (expected.has_output(i)) {
      EXPECT_TRUE(same_bits(fmt::format("{}: output {}", what, i), expected, found, i));
    }
}

TEST_P(OperatorWithGradient, AddsWhereAskedAndOverwritesElsewhere) {
  for_each_size_of(two_sizes(subject()), [&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients();
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun forward = trial.forward(format);
      run_undamaged(forward);
      KernelRun overwriting = trial.backward(format, forward, w);
      run_undamaged(overwriting);
      for (std::size_t i = 0; i < trial.in().size(); ++i) {
        if (!may_be_a_parameter(trial, format, i)) continue;
        KernelRun adding = trial.backward(format, forward, w);
        const Values start = draw(Fill::kNormal, trial.in()[i], 1, 3);
        adding.set_output(i, start);
        run_undamaged(adding, 1u << i);
        for (std::size_t k = 0; k < adding.outputs(); ++k) {
          if (!adding.has_output(k)) continue;
          Values expected = overwriting.output(k);
          if (k == i) std::ranges::transform(expected, start, expected.begin(), std::plus<>());
          EXPECT_TRUE(agrees(subject(),
                             fmt::format("gradient of input {} while {} accumulates", k, i),
                             trial.in()[k].shape, expected, adding.output(k)));
        }
      }
    });
  });
}

TEST_P(OperatorWithGradient, GivesEachAloneAsItGivesThemTogether) {
  for_each_size_of(two_sizes(subject()), [&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients();
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun forward = trial.forward(format);
      run_undamaged(forward);
      KernelRun all = trial.backward(format, forward, w);
      run_undamaged(all);
      for (std::size_t i = 0; i < trial.in().size(); ++i) {
        if (!trial.is_differentiable(i)) continue;
        KernelRun alone = trial.backward(format, forward, w, 1u << i);
        run_undamaged(alone);
        EXPECT_TRUE(agrees(subject(), fmt::format("gradient of input {} alone", i),
                           trial.in()[i].shape, all.output(i), alone.output(i)));
      }
    });
  });
}

TEST_P(OperatorWithGradientAndOracle, AgreesWithItWhenAnOutputHasNoGradient) {
  for_each_size_of({subject().sizes().back()}, [&](const Trial& trial, std::int64_t) {
    const std::vector<Values> all = trial.draw_gradients();
    const auto with_gradient =
        std::ranges::count_if(all, [](const Values& v) { return !v.empty(); });
    for (std::size_t missing = 0; missing < all.size() && with_gradient > 1; ++missing) {
      if (all[missing].empty()) continue;
      std::vector<Values> w = all;
      w[missing].clear();
      const Format plain = trial.formats().front();
      KernelRun forward = trial.forward(plain);
      run_undamaged(forward);
      KernelRun backward = trial.backward(plain, forward, w);
      run_undamaged(backward);
      for (std::size_t i = 0; i < trial.in().size(); ++i) {
        if (!trial.is_differentiable(i)) continue;
        EXPECT_TRUE(agrees(
            subject(), fmt::format("gradient of input {} without that of output {}", i, missing),
            trial.in()[i].shape, differentiate_oracle(trial, i, w, 2e6), backward.output(i)));
      }
    }
  });
}

TEST_P(OperatorInPlace, GivesTheBitsOfRunsInSeparateMemory) {
  const OpSpec& op = subject().op();
  for_each_size_of(two_sizes(subject()), [&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients();
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun apart = trial.forward(format);
      run_undamaged(apart);
      for (const AliasRule& rule : op.aliases) {
        const auto out = static_cast<std::size_t>(rule.output),
                   in = static_cast<std::size_t>(rule.input);
        if (rule.kind == AliasKind::kUpdate || in >= trial.in().size() || trial.is_absent(in))
          continue;
        if (rule.kind == AliasKind::kView) {
          EXPECT_TRUE(std::ranges::equal(apart.input_bytes(in), apart.output_bytes(out)));
          continue;
        }
        if (format.in[in] != format.out[out]) continue;
        KernelRun in_place = trial.forward(format);
        in_place.share(out, in);
        run_undamaged(in_place);
        expect_same_outputs(apart, in_place,
                            fmt::format("output {} in place of input {}", out, in));
      }
      if (op.dx_may_overwrite_dy == 0) return;
      KernelRun backward_apart = trial.backward(format, apart, w);
      run_undamaged(backward_apart);
      for (std::size_t i = 0; i < trial.in().size(); ++i) {
        if ((op.dx_may_overwrite_dy >> i & 1u) == 0 || !trial.is_differentiable(i)) continue;
        if (format.in[i] != format.out[0] || w[0].empty()) continue;
        KernelRun in_place = trial.backward(format, apart, w);
        in_place.share(i, trial.in().size() + trial.out().size());
        run_undamaged(in_place);
        expect_same_outputs(backward_apart, in_place,
                            fmt::format("gradient of input {} in place of dy", i));
      }
    });
  });
}

TEST_P(Operator, EqualInputsGiveEqualBitsOnEveryRunAndNumberOfThreads) {
  const int threads = omp_get_max_threads();
  for_each_size_of(two_sizes(subject()), [&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients();
    for_each_format(trial, n, [&](const Format& format) {
      omp_set_num_threads(1);
      KernelRun forward = trial.forward(format);
      run_undamaged(forward);
      const auto repeat = [&](auto make, const KernelRun& first, const char* direction) {
        KernelRun second = make();
        run_undamaged(second);
        expect_same_outputs(first, second, fmt::format("{}, fresh state", direction));
        second.copy_inputs(make());
        run_undamaged(second);
        expect_same_outputs(first, second, fmt::format("{}, same state", direction));
        omp_set_num_threads(2);
        KernelRun two_threads = make();
        run_undamaged(two_threads);
        omp_set_num_threads(1);
        expect_same_outputs(first, two_threads,
                            fmt::format("{}, two threads instead of one", direction));
      };
      repeat([&] { return trial.forward(format); }, forward, "forward");
      if (test_kernels(subject().op()).backward == nullptr) return;
      KernelRun backward = trial.backward(format, forward, w);
      run_undamaged(backward);
      repeat([&] { return trial.backward(format, forward, w); }, backward, "backward");
    });
  });
  omp_set_num_threads(threads);
}

TEST_P(Operator, AStateForgetsOldValuesWhenTheParameterVersionChanges) {
  for_each_size_of(two_sizes(subject()), [&](const Trial& trial, std::int64_t n) {
    const std::vector<Values> w = trial.draw_gradients(), others = trial.draw_inputs(4711);
    for_each_format(trial, n, [&](const Format& format) {
      KernelRun used = trial.forward(format), fresh = trial.forward(format, others);
      used.run({}, 0, 1);
      used.copy_inputs(trial.forward(format, others));
      used.run({}, 0, 2);
      fresh.run({}, 0, 2);
      expect_same_outputs(fresh, used, "forward");
      if (test_kernels(subject().op()).backward == nullptr) return;
      KernelRun old_forward = trial.forward(format);
      old_forward.run();
      KernelRun used_back = trial.backward(format, old_forward, w),
                fresh_back = trial.backward(format, fresh, w);
      used_back.run({}, 0, 1);
      used_back.copy_inputs(fresh_back);
      used_back.run({}, 0, 2);
      fresh_back.run({}, 0, 2);
      expect_same_outputs(fresh_back, used_back, "backward");
      EXPECT_EQ(used.damage() + fresh.damage() + used_back.damage() + fresh_back.damage(), "");
    });
  });
}

std::string test_name(const testing::TestParamInfo<Subject>& info) {
  const Subject& s = info.param;
  std::string text = fmt::format("{}__{}__{}{}", s.op().name, s.chosen->name, name(s.dtype),
                                 s.has_weights ? "_weights" : "");
  std::ranges::replace_if(
      text, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return text;
}

bool has_oracle(const Subject& s) { return s.cases->reference != nullptr; }
bool has_gradient(const Subject& s) { return test_kernels(s.op()).backward != nullptr; }
bool has_both(const Subject& s) { return has_oracle(s) && has_gradient(s); }
bool runs_in_place(const Subject& s) {
  return !s.op().aliases.empty() || s.op().dx_may_overwrite_dy != 0;
}

auto those(bool (*wanted)(const Subject&)) {
  std::vector<Subject> subjects;
  std::ranges::copy_if(all_subjects(), std::back_inserter(subjects), wanted);
  return testing::ValuesIn(subjects);
}

INSTANTIATE_TEST_SUITE_P(Every, Operator, testing::ValuesIn(all_subjects()), test_name);
INSTANTIATE_TEST_SUITE_P(Every, OperatorWithOracle, those(has_oracle), test_name);
INSTANTIATE_TEST_SUITE_P(Every, OperatorWithGradient, those(has_gradient), test_name);
INSTANTIATE_TEST_SUITE_P(Every, OperatorWithGradientAndOracle, those(has_both), test_name);
INSTANTIATE_TEST_SUITE_P(Every, OperatorInPlace, those(runs_in_place), test_name);

class ToleranceReport : public testing::Environment {
 public:
  void TearDown() override { report_tolerances(); }
};
[[maybe_unused]] const auto* const kReport = testing::AddGlobalTestEnvironment(new ToleranceReport);

}  // namespace

void PrintTo(const Subject& s, std::ostream* os) {
  *os << fmt::format("operator {}, case '{}', {}", s.op().name, s.chosen->name, name(s.dtype));
}

}  // namespace phalanx::operators_test
