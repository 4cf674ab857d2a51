// SPDX-License-Identifier: Apache-2.0
// What the harness does not ask of elementwise operators of two inputs: operands of different types, and sums that are long
// enough to be shared among many threads.
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>

#include "common/binary_cases.hpp"
#include "kernel_run.hpp"

namespace phalanx::operators_test {
namespace {

struct Function {
  std::string_view op;
  double (*value)(double a, double b);
  double (*da)(double dy, double a, double b);
  double (*db)(double dy, double a, double b);
};

const Function kFunctions[] = {
    {"add", [](double a, double b) { return a + b; }, [](double dy, double, double) { return dy; },
     [](double dy, double, double) { return dy; }},
    {"sub", [](double a, double b) { return a - b; }, [](double dy, double, double) { return dy; },
     [](double dy, double, double) { return -dy; }},
    {"mul", [](double a, double b) { return a * b; },
     [](double dy, double, double b) { return dy * b; },
     [](double dy, double a, double) { return dy * a; }},
    {"div", [](double a, double b) { return a / b; },
     [](double dy, double, double b) { return dy / b; },
     [](double dy, double a, double b) { return -dy * a / (b * b); }},
};

struct Stretch {
  Shape a, b;
  std::int64_t block = 1;  // of those of rank 4 with more than one pixel
};

const Stretch kStretches[] = {
    {{64, 1024}, {}},
    {{2048, 32}, {32}},
    {{2048, 37}, {37}},
    {{8, 1}, {8, 8192}},
    {{8, 1}, {8, 8191}},
    {{7, 16, 32, 20}, {16, 1, 1}},
    {{7, 16, 32, 20}, {16, 1, 1}, 16},
    {{7, 16, 32, 20}, {16, 1, 1}, 8},
    {{7, 16, 32, 20}, {32, 20}, 16},
    {{7, 16, 5, 1}, {7, 16, 5, 60}, 16},
    {{3, 40, 1, 8}, {3, 1, 50, 8}},
    {{64, 96}, {64, 96}},
    {{2, 16, 8, 4}, {2, 16, 8, 4}, 16},
};

TensorType type_of(DType dtype, const Shape& shape, std::int64_t block) {
  return {dtype, shape, shape.rank() == 4 && shape[2] * shape[3] > 1 ? block : 1};
}

class Broadcast {
 public:
  Broadcast(const Function& f, const Stretch& s, DType a, DType b)
      : op_(find_operator(f.op)),
        in_{type_of(a, s.a, s.block), type_of(b, s.b, s.block)},
        y_(type_of(a == DType::kF32 && b == DType::kF32 ? DType::kF32 : DType::kBf16,
                   broadcast(s.a, s.b), s.block)) {
    for (std::size_t i = 0; i < 2; ++i) {
      x_[i] = draw(Fill::kPositive, in_[i], 1, i);
      expected_[i].assign(x_[i].size(), 0.0);
      magnitudes_[i] = expected_[i];
      start_[i] = draw(Fill::kNormal, in_[i], 1, 7 + i);
    }
    dy_ = draw(Fill::kNormal, y_, 1, 3);
    y_values_.resize(dy_.size());
    for (std::size_t e = 0; e < dy_.size(); ++e) {
      const auto at = static_cast<std::int64_t>(e);
      const auto i = static_cast<std::size_t>(broadcast_source(y_.shape, s.a, at)),
                 k = static_cast<std::size_t>(broadcast_source(y_.shape, s.b, at));
      const double a_value = x_[0][i], b_value = x_[1][k];
      y_values_[e] = f.value(a_value, b_value);
      const double da = f.da(dy_[e], a_value, b_value), db = f.db(dy_[e], a_value, b_value);
      expected_[0][i] += da, magnitudes_[0][i] += std::abs(da);
      expected_[1][k] += db, magnitudes_[1][k] += std::abs(db);
    }
  }

  void check_forward() const {
    KernelRun run(op_, {}, false);
    for (std::size_t i = 0; i < 2; ++i) run.add_input(in_[i], x_[i]);
    run.add_output(y_);
    run.prepare();
    run.run();
    EXPECT_EQ(run.damage(), "");
    expect_close(y_values_, y_values_, run.output(0), y_.dtype, "y");
  }

  void check_backward(bool adds) const {
    KernelRun run(op_, {}, true);
    for (std::size_t i = 0; i < 2; ++i) {
      if ((op_.needs_inputs >> i & 1u) != 0)
        run.add_input(in_[i], x_[i]);
      else
        run.add_absent_input();
    }
    run.add_absent_input();
    run.add_input(y_, dy_);
    for (std::size_t i = 0; i < 2; ++i) {
      run.add_output(in_[i]);
      run.set_output(i, start_[i]);
    }
    run.prepare();
    run.run({}, adds ? 0b11 : 0);
    EXPECT_EQ(run.damage(), "");
    for (std::size_t i = 0; i < 2; ++i) {
      Values expected = expected_[i];
      for (std::size_t e = 0; adds && e < expected.size(); ++e) expected[e] += start_[i][e];
      expect_close(expected, magnitudes_[i], run.output(i), in_[i].dtype, i == 0 ? "da" : "db");
    }
  }

 private:
  /// Rounding of a sum goes with the sum of the magnitudes of its terms.
  static void expect_close(const Values& expected, const Values& magnitudes, const Values& found,
                           DType dtype, const char* what) {
    for (std::size_t e = 0; e < expected.size(); ++e) {
      const double allowed =
          (dtype == DType::kF32 ? 1e-6 : 1e-2) * (1 + std::abs(expected[e])) + 1e-7 * magnitudes[e];
      ASSERT_NEAR(expected[e], found[e], allowed) << what << ", element " << e;
    }
  }

  const OpSpec& op_;
  TensorType in_[2], y_;
  Values x_[2], y_values_, dy_, expected_[2], magnitudes_[2], start_[2];
};

TEST(BinaryOperators, AgreeWithPlainLoopsOfAnyTypesOverLongSums) {
  for (const Function& f : kFunctions) {
    if (!has_kernels(find_operator(f.op))) continue;
    for (const Stretch& s : kStretches)
      for (const DType a : {DType::kF32, DType::kBf16})
        for (const DType b : {DType::kF32, DType::kBf16}) {
          SCOPED_TRACE(fmt::format("{} of {} {} and {} {}, blocks of {}", f.op, name(a), s.a.str(),
                                   name(b), s.b.str(), s.block));
          const Broadcast broadcast(f, s, a, b);
          broadcast.check_forward();
          broadcast.check_backward(false);
          broadcast.check_backward(true);
        }
  }
}

}  // namespace
}  // namespace phalanx::operators_test
