// SPDX-License-Identifier: Apache-2.0
// Steps of optimizers that must not take place.
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <limits>

#include "kernel_run.hpp"

namespace phalanx::operators_test {
namespace {

struct Skipped {
  std::string_view op;
  std::size_t states;     ///< of the optimizer; sgd takes an absent one where this is 0
  std::size_t constants;  ///< in hyper; the third is gradient_scale
  std::string_view form;  ///< an attribute that is set, or nothing
};

void expect_nothing_changes(const Skipped& skipped, std::int64_t count) {
  const OpSpec& op = find_operator(skipped.op);
  Attributes attributes = {{"copy", std::int64_t{1}}};
  if (!skipped.form.empty()) attributes.set(std::string(skipped.form), std::int64_t{1});
  const TensorType vector{DType::kF32, Shape{count}}, copy_type{DType::kBf16, Shape{count}};
  const std::size_t slots = std::max<std::size_t>(skipped.states, 1), copy = 1 + slots;
  Values hyper(skipped.constants, 0.5);
  hyper[2] = std::numeric_limits<double>::quiet_NaN();

  KernelRun run(op, attributes, false);
  run.add_input(vector, draw(Fill::kNormal, vector, 1, 1));  // w
  run.add_input(vector, draw(Fill::kNormal, vector, 1, 2));  // g
  for (std::size_t i = 0; i < slots; ++i) {
    if (skipped.states == 0)
      run.add_absent_input();
    else
      run.add_input(vector, draw(Fill::kUnit, vector, 1, 3 + i));
  }
  run.add_input({DType::kF32, Shape{static_cast<std::int64_t>(skipped.constants)}}, hyper);
  run.add_output(vector);
  run.share(0, 0);
  for (std::size_t i = 0; i < slots; ++i) {
    if (skipped.states == 0) {
      run.add_absent_output();
    } else {
      run.add_output(vector);
      run.share(1 + i, 2 + i);
    }
  }
  run.add_output(copy_type);
  const Values old_copy = draw(Fill::kNormal, copy_type, 1, 9);
  run.set_output(copy, old_copy);

  const auto bytes = [](std::span<const std::byte> s) {
    return std::vector<std::byte>(s.begin(), s.end());
  };
  std::vector<std::vector<std::byte>> before;
  for (std::size_t i = 0; i < copy; ++i)
    if (run.has_output(i)) before.push_back(bytes(run.output_bytes(i)));
  run.run({}, 1u << copy);  // the harness lets an output be that accumulates
  std::size_t next = 0;
  for (std::size_t i = 0; i < copy; ++i)
    if (run.has_output(i)) {
      EXPECT_EQ(bytes(run.output_bytes(i)), before[next++]) << "output " << i;
    }
  EXPECT_EQ(run.output(copy), old_copy);
  EXPECT_EQ(run.damage(), "");
}

TEST(OptimizerSteps, AreSkippedIfTheGradientScaleIsNoNumber) {
  for (const Skipped& skipped :
       {Skipped{"sgd", 0, 4, ""}, Skipped{"sgd", 1, 4, ""}, Skipped{"sgd", 1, 4, "nesterov"},
        Skipped{"adam", 2, 8, ""}, Skipped{"adam", 2, 8, "decoupled"}}) {
    if (!has_kernels(find_operator(skipped.op))) continue;
    for (const std::int64_t count : {0, 1, 3, 4, 35, 1025}) {
      SCOPED_TRACE(fmt::format("{} with {} states, '{}', {} elements", skipped.op, skipped.states,
                               skipped.form, count));
      expect_nothing_changes(skipped, count);
    }
  }
}

}  // namespace
}  // namespace phalanx::operators_test
