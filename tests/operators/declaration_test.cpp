// SPDX-License-Identifier: Apache-2.0
// What operators declare: cases, gradients, refusals.
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "trial.hpp"

namespace phalanx::operators_test {
namespace {

// Operators without a gradient, each for a reason: they end a training step, count, or give the gradient themselves.
constexpr std::array<std::string_view, 4> kNotDifferentiable = {"adam", "count_correct", "sgd",
                                                                "softmax_cross_entropy_step"};

TEST(Declarations, EveryOperatorHasCases) {
  ASSERT_EQ(all_cases().size(), all_operators().size());
  for (std::size_t i = 0; i < all_operators().size(); ++i) {
    const OpSpec* op = all_operators()[i];
    const OpCases* cases = all_cases()[i];
    EXPECT_EQ(cases->op, op) << op->name;
    EXPECT_FALSE(cases->cases.empty()) << op->name;
    EXPECT_FALSE(cases->refusals.empty()) << op->name << " refuses nothing";
    EXPECT_TRUE(cases->reference != nullptr || op->random) << op->name << " has no oracle";
    EXPECT_NE(op->cpu.forward, nullptr) << op->name;
  }
}

TEST(Declarations, AnOperatorHasAGradientOrIsListedAsNotDifferentiable) {
  for (const OpSpec* op : all_operators()) {
    const bool listed = std::ranges::find(kNotDifferentiable, op->name) != kNotDifferentiable.end();
    EXPECT_EQ(op->cpu.backward == nullptr, listed) << op->name;
    EXPECT_EQ(op->differentiable == 0, listed) << op->name;
  }
}

TEST(Declarations, NamesAreUniqueAndAFolderEach) {
  std::vector<std::string_view> names;
  for (const OpSpec* op : all_operators()) names.push_back(op->name);
  EXPECT_TRUE(std::ranges::is_sorted(names))
      << "kernels/CMakeLists.txt lists operators alphabetically";
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(Declarations, AnOperatorForBf16AcceptsItInSomeCase) {
  const std::vector<Subject> subjects = all_subjects();
  for (const OpCases* cases : all_cases()) {
    const bool accepted = std::ranges::any_of(
        subjects, [&](const Subject& s) { return s.cases == cases && s.dtype == DType::kBf16; });
    EXPECT_EQ(accepted, cases->low_precision != 0)
        << cases->op->name << ": see OpCases::low_precision";
  }
}

// An operator may have fewer outputs in some mode (batch_norm in inference): the case with most of
// them counts.
TEST(Declarations, AliasRulesNameOperandsThatExist) {
  std::map<const OpSpec*, std::size_t> outputs;
  std::map<const OpSpec*, std::uint32_t> needed;
  for (const Subject& subject : all_subjects()) {
    const auto trial =
        Trial::make(subject, subject.chosen->sizes.empty() ? 1 : subject.sizes().back());
    std::size_t& most = outputs[&subject.op()];
    most = std::max(most, trial->out().size());
    if (subject.op().needs_inputs != kAllOperands) {  // any number of inputs
      EXPECT_EQ(subject.op().needs_inputs >> trial->in().size() >> 1, 0u) << subject.op().name;
    }
    needed[&subject.op()] |= needed_outputs(subject.op(), subject.chosen->attributes);
  }
  for (const auto& [op, count] : outputs) {
    for (const AliasRule& rule : op->aliases)
      EXPECT_LT(static_cast<std::size_t>(rule.output), count) << op->name;
    EXPECT_LT(op->saved_outputs, static_cast<int>(count)) << op->name;
    EXPECT_EQ(needed[op] >> count, 0u) << op->name;
  }
}

TEST(Refusals, InferSaysWhatItRefuses) {
  for (const OpCases* cases : all_cases()) {
    for (const OpCases::Refusal& refusal : cases->refusals) {
      SCOPED_TRACE(fmt::format("operator {}, refusal '{}'", cases->op->name, refusal.name));
      ASSERT_FALSE(refusal.message.empty());
      try {
        (void)cases->op->infer(refusal.attributes, refusal.inputs);
        ADD_FAILURE() << "not refused";
      } catch (const InvalidArgument& e) {
        EXPECT_NE(std::string_view(e.what()).find(refusal.message), std::string_view::npos)
            << "expected a text with '" << refusal.message << "', found '" << e.what() << "'";
      } catch (const std::exception& e) {
        ADD_FAILURE() << "expected InvalidArgument, found another exception: " << e.what();
      }
    }
  }
}

// Runs with output `wrong` of another type, or one output too many.
void expect_refused(const Trial& trial, const std::vector<TensorType>& out_types) {
  Stream stream{Device{}};
  std::vector<GuardedBuffer> in_memory, out_memory;
  std::vector<ConstTensorView> in;
  std::vector<TensorView> out;
  for (std::size_t i = 0; i < trial.in().size(); ++i) {
    in_memory.emplace_back(trial.in()[i].size_bytes());
    if (!trial.is_absent(i)) store(trial.x()[i], trial.in()[i], in_memory.back().data());
    in.push_back({trial.is_absent(i) ? nullptr : in_memory.back().data(), trial.in()[i]});
  }
  for (const TensorType& type : out_types) {
    out_memory.emplace_back(type.size_bytes());
    out.push_back({out_memory.back().data(), type});
  }
  EXPECT_THROW(run_forward(trial.op(), trial.attributes(), in, out, stream), InvalidArgument);
  for (GuardedBuffer& memory : out_memory) {
    const GuardedBuffer untouched(memory.contents().size());
    EXPECT_TRUE(std::ranges::equal(memory.contents(), untouched.contents()))
        << "an output was written";
  }
}

TEST(Refusals, OutputsOfAnotherTypeAreRefusedUntouched) {
  for (const OpCases* cases : all_cases()) {
    SCOPED_TRACE(fmt::format("operator {}", cases->op->name));
    const Subject subject{cases, &cases->cases[0], DType::kF32};
    const auto trial = Trial::make(subject, subject.sizes().back());
    for (std::size_t i = 0; i < trial->out().size(); ++i) {
      std::vector<TensorType> types = trial->out();
      types[i] =
          TensorType(types[i].dtype == DType::kU8 ? DType::kF32 : DType::kU8, types[i].shape);
      expect_refused(*trial, types);
      types[i] = TensorType(trial->out()[i].dtype, Shape{trial->out()[i].shape.numel() + 1, 1});
      expect_refused(*trial, types);
    }
    std::vector<TensorType> one_more = trial->out();
    one_more.emplace_back(DType::kF32, Shape{1});
    expect_refused(*trial, one_more);
  }
}

}  // namespace
}  // namespace phalanx::operators_test
