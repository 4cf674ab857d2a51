// SPDX-License-Identifier: Apache-2.0
// The harness gives a reorder plain inputs only: here it goes from every block to every other.
#include <fmt/format.h>

#include <gtest/gtest.h>

#include "kernel_run.hpp"

namespace phalanx::operators_test {
namespace {

TEST(Reorder, GoesFromAnyBlockToAnyOther) {
  const OpSpec& op = find_operator("reorder");
  if (!has_kernels(op)) GTEST_SKIP() << "the device has no reorder";
  const std::vector<std::int64_t> blocks = {1, 2, 3, 8, 12, 16, 24, 48};
  for (const DType dtype : {DType::kF32, DType::kBf16})
    for (const Shape& shape : {Shape{2, 48, 3, 5}, Shape{3, 48, 4, 6}})
      for (const std::int64_t from : blocks)
        for (const std::int64_t to : blocks) {
          SCOPED_TRACE(fmt::format("{} {} from blocks of {} to blocks of {}", name(dtype),
                                   shape.str(), from, to));
          const TensorType before(dtype, shape, from), after(dtype, shape, to);
          const Values values = draw(Fill::kNormal, before, 1, 5);
          const Attributes to_block = {{"channel_block", to}},
                           back_block = {{"channel_block", from}};
          KernelRun forward(op, to_block, false);
          forward.add_input(before, values);
          forward.add_output(after);
          forward.run();
          EXPECT_EQ(forward.output(0), values);
          KernelRun backward(op, back_block, true);
          backward.add_absent_input();
          backward.add_absent_input();
          backward.add_input(after, values);
          backward.add_output(before);
          backward.run();
          EXPECT_EQ(backward.output(0), values);
          EXPECT_EQ(forward.damage() + backward.damage(), "");
        }
}

}  // namespace
}  // namespace phalanx::operators_test
