// SPDX-License-Identifier: Apache-2.0
#include "op/op.hpp"

#include <gtest/gtest.h>

namespace phalanx {
namespace {

TEST(Attributes, GiveTheValueOrTheFallback) {
  const Attributes a = {{"axis", std::int64_t{2}},
                        {"alpha", 0.5},
                        {"mode", std::string("mean")},
                        {"pads", Ints{1, 2}}};
  EXPECT_EQ(a.get_int("axis", 7), 2);
  EXPECT_EQ(a.get_int("other", 7), 7);
  EXPECT_EQ(a.get_float("alpha", 1), 0.5);
  EXPECT_EQ(a.get_string("mode", "sum"), "mean");
  EXPECT_EQ(a.get_ints("pads", {}), (Ints{1, 2}));
  EXPECT_EQ(a.get_ints("strides", {3}), (Ints{3}));
  EXPECT_TRUE(a.has("pads"));
  EXPECT_FALSE(a.has("pad"));
}

TEST(Attributes, RefuseAnotherType) {
  const Attributes a = {{"axis", 2.0}};
  EXPECT_THROW(a.get_int("axis", 0), InvalidArgument);
  EXPECT_THROW(a.get_string("axis", ""), InvalidArgument);
  EXPECT_THROW(a.get_ints("axis", {}), InvalidArgument);
}

TEST(Attributes, SetReplacesOrAdds) {
  Attributes a = {{"axis", std::int64_t{2}}};
  a.set("axis", std::int64_t{3});
  a.set("alpha", 1.0);
  EXPECT_EQ(a, (Attributes{{"axis", std::int64_t{3}}, {"alpha", 1.0}}));
}

TEST(PackedParameters, AreSharedWhileSomebodyHoldsThem) {
  PackedParameters packed;
  int made = 0;
  const auto find = [&](int wanted) {
    return packed.find<int>([&](int known) { return known == wanted; },
                            [&] {
                              ++made;
                              return std::make_shared<int>(wanted);
                            });
  };
  auto first = find(1), other = find(2);
  EXPECT_EQ(find(1), first);
  EXPECT_NE(first, other);
  EXPECT_EQ(made, 2);
  first.reset();
  EXPECT_EQ(*find(1), 1);
  EXPECT_EQ(made, 3);
  const auto text = packed.find<std::string>([](const auto&) { return true; },
                                             [] { return std::make_shared<std::string>("2"); });
  EXPECT_EQ(*text, "2");
}

TEST(OperatorTable, FindsByName) { EXPECT_EQ(find_operator("relu").name, "relu"); }

TEST(OperatorTable, NamesTheNearestOfAnUnknownOperator) {
  try {
    find_operator("rellu");
    FAIL() << "found an operator that does not exist";
  } catch (const InvalidArgument& e) {
    EXPECT_NE(std::string_view(e.what()).find("'relu'"), std::string_view::npos) << e.what();
  }
}

TEST(OperatorTable, SaysWhichDeviceHasNoKernel) {
  EXPECT_THROW(kernels_for(find_operator("relu"), {DeviceKind::kCuda, 0}), Unsupported);
}

TEST(RunBackward, RefusesAnOperatorWithoutGradient) {
  OpSpec spec = find_operator("relu");
  spec.cpu.backward = nullptr;
  Stream stream{Device{}};
  EXPECT_THROW(run_backward(spec, {}, {}, {}, stream), Unsupported);
}

TEST(RunForward, ChecksWhatInferChecks) {
  Stream stream{Device{}};
  const Tensor x({DType::kI64, {3}}, stream), y({DType::kI64, {3}}, stream);
  EXPECT_THROW(run_forward(find_operator("relu"), {}, std::vector<ConstTensorView>{x.view()},
                           std::vector<TensorView>{y.view()}, stream),
               InvalidArgument);
}

}  // namespace
}  // namespace phalanx
