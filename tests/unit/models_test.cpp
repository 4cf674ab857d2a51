// SPDX-License-Identifier: Apache-2.0
#include "models/model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "models/network.hpp"
#include "models/run_record.hpp"
#include "models/served_network.hpp"

namespace phalanx {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ModelSpec image_model(std::vector<std::string> layers, std::int64_t outputs = 10) {
  return {.layers = std::move(layers), .sample = Shape{3, 32, 32}, .outputs = outputs};
}

template <class E>
std::string message_of(const ModelSpec& spec) {
  try {
    build_model(spec, 4);
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(LayerLines, BuildTheNetworkTheyDescribe) {
  const Graph graph = build_model(
      image_model({"conv 64 3x3 pad 1", "relu", "max_pool 2x2", "conv 128 3x3 pad same no-bias",
                   "batch_norm", "relu", "max_pool 2x2 stride 2", "dropout 0.5", "dense 512",
                   "leaky_relu 0.1", "dense 10"}),
      4);
  EXPECT_EQ(graph.value(graph.output("y")).type.shape, (Shape{4, 10}));
  // conv 64*27+64, conv 128*576, batch norm 2*128, dense 512*8192+512, dense 10*512+10
  EXPECT_EQ(graph.parameter_count(), 1792 + 73728 + 256 + 4194816 + 5130);
}

TEST(LayerLines, NameParametersByKindAndNumber) {
  const Graph graph = build_model(
      image_model({"conv 8 3x3", "conv 8 5x3 stride 2 dilation 1 groups 4", "dense 10"}), 1);
  std::vector<std::string> names;
  for (const Value& v : graph.values())
    if (v.kind == ValueKind::kParameter) names.push_back(v.name);
  EXPECT_THAT(names, ::testing::ElementsAre("conv1.weight", "conv1.bias", "conv2.weight",
                                            "conv2.bias", "dense1.weight", "dense1.bias"));
}

TEST(LayerLines, AreRefusedWithTheLineTheShapeAndTheReason) {
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv 64 3x3", "rleu", "dense 10"})),
              AllOf(HasSubstr("layer 2 'rleu'"), HasSubstr("nearest is 'relu'")));
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv sixty 3x3"})),
              AllOf(HasSubstr("layer 1"), HasSubstr("'sixty'")));
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv 64"})), HasSubstr("kernel size"));
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv 64 3x3 pad"})),
              HasSubstr("value after 'pad'"));
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv 64 3x3 padding 1"})),
              HasSubstr("did not expect 'padding'"));
  EXPECT_THAT(message_of<ConfigError>(image_model({"dense 20", "conv 8 3x3"})),
              AllOf(HasSubstr("layer 2 'conv 8 3x3'"), HasSubstr("[4, 20]")));
  EXPECT_THAT(message_of<ConfigError>(image_model({"conv 8 3x3 groups 2"})),
              HasSubstr("2 groups must divide 3"));
  EXPECT_THAT(message_of<ConfigError>(image_model({"max_pool 40x40"})),
              AllOf(HasSubstr("layer 1"), HasSubstr("[4, 3, 32, 32]")));
  EXPECT_THAT(message_of<ConfigError>(image_model({"dropout 1.5"})),
              HasSubstr("layer 1 'dropout 1.5'"));
  EXPECT_THAT(message_of<ConfigError>(image_model({})), HasSubstr("at least one"));
}

TEST(Model, MustGiveAsManyValuesAsTheDataHasTargets) {
  EXPECT_THAT(message_of<ConfigError>(image_model({"dense 12"}, 10)),
              AllOf(HasSubstr("'dense1'"), HasSubstr("[12]"), HasSubstr("[10]")));
}

TEST(Model, OfUnknownNameIsRefusedWithTheNearest) {
  ModelSpec spec = image_model({});
  spec.name = "mpl";
  EXPECT_THAT(message_of<ConfigError>(spec), HasSubstr("nearest is 'mlp'"));
}

TEST(Mlp, HasAnyWidthsAndActivations) {
  ModelSpec spec{
      .name = "mlp", .hidden = "20 15 10", .activation = "elu", .sample = Shape{10}, .outputs = 10};
  const Graph graph = build_model(spec, 7);
  EXPECT_EQ(graph.value(graph.output("y")).type.shape, (Shape{7, 10}));
  EXPECT_EQ(graph.parameter_count(), 10 * 20 + 20 + 20 * 15 + 15 + 15 * 10 + 10 + 10 * 10 + 10);
}

TEST(AttachLoss, ReadsWhatComesBeforeAFinalSigmoid) {
  Graph graph =
      build_model({.layers = {"dense 1", "sigmoid"}, .sample = Shape{5}, .outputs = 1}, 3);
  attach_loss(graph, "binary_cross_entropy");
  EXPECT_NE(graph.output("logits"), graph.output("y"));
  EXPECT_EQ(graph.value(graph.output("logits")).name, "dense1");
  EXPECT_EQ(graph.value(graph.output("loss")).type.shape.rank(), 0);
  Graph other =
      build_model({.layers = {"dense 1", "sigmoid"}, .sample = Shape{5}, .outputs = 1}, 3);
  attach_loss(other, "mean_squared_error");
  EXPECT_EQ(other.output("logits"), other.output("y"));
}

TEST(Network, InfersTheSameWhateverTheBatchSize) {
  Stream stream{Device{}};
  Network network({image_model({"conv 16 3x3 pad 1", "batch_norm", "relu", "max_pool 2x2",
                                "dropout 0.5", "dense 10"}),
                   "softmax_cross_entropy", "f32", false},
                  8, stream);
  network.initialise(3);
  std::vector<float> x(8 * 3072);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) / 97.0f - 0.5f;
  const auto run = [&](std::int64_t batch, std::int64_t first) {
    Executor& executor = network.inference(batch);
    executor.feed("x", {x.data() + first * 3072, {DType::kF32, Shape{batch, 3, 32, 32}}});
    executor.run({.parameter_version = 1});
    const ConstTensorView logits = executor.output("logits");
    return std::vector<float>(logits.as<float>(), logits.as<float>() + logits.numel());
  };
  const std::vector<float> whole = run(8, 0);
  for (std::int64_t row : {0, 3, 7}) {
    const std::vector<float> one = run(1, row);
    for (std::size_t i = 0; i < one.size(); ++i)
      EXPECT_NEAR(one[i], whole[static_cast<std::size_t>(row) * 10 + i], 1e-5);
  }
}

// Winograd's weights, which all plans share, are packed anew whichever of them sees the change first.
TEST(Network, SharesPackedWeightsThatFollowItsParameters) {
  Stream stream{Device{}};
  const auto make = [&] {
    auto network = std::make_unique<Network>(
        NetworkOptions{image_model({"conv 32 3x3 pad 1", "conv 32 3x3 pad 1", "dense 10"}),
                       "softmax_cross_entropy", "f32", false},
        2, stream);
    network->initialise(3);
    return network;
  };
  const auto shared = make();
  std::vector<float> x(2 * 3072);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 97) / 97.0f - 0.5f;
  const auto run = [&](Network& network, std::int64_t batch, std::uint64_t version) {
    Executor& executor = network.inference(batch);
    executor.feed("x", {x.data(), executor.input_type("x")});
    executor.run({.parameter_version = version});
    return values_of<float>(executor.output("logits"), stream);
  };
  for (const std::uint64_t version : {1, 2, 3}) {
    const TensorView parameters = shared->parameters().parameters();
    for (std::int64_t i = 0; i < parameters.numel(); ++i)
      parameters.as<float>()[i] *= 1.0f + 0.01f * static_cast<float>(i % 7);
    const auto fresh = make();
    copy(parameters, fresh->parameters().parameters(), stream);
    const std::int64_t first = version == 2 ? 2 : 1;
    EXPECT_EQ(run(*shared, first, version), run(*fresh, first, 1)) << version;
    EXPECT_EQ(run(*shared, 3 - first, version), run(*fresh, 3 - first, 1)) << version;
  }
}

TEST(Network, InLowPrecisionIsCloseToFullPrecision) {
  Stream stream{Device{}};
  std::vector<float> x(4 * 3072);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 89) / 89.0f - 0.5f;
  const std::vector<std::int64_t> labels{1, 2, 3, 4};
  const float seed = 0.25f;
  const auto gradients = [&](const std::string& precision) {
    Network network(
        {image_model({"conv 16 3x3 pad 1", "relu", "max_pool 2x2", "dense 32", "relu", "dense 10"}),
         "softmax_cross_entropy", precision, true},
        4, stream);
    network.initialise(3);
    Executor& executor = network.training(4);
    executor.feed("x", {x.data(), {DType::kF32, Shape{4, 3, 32, 32}}});
    executor.feed("target", {labels.data(), {DType::kI64, Shape{4}}});
    executor.feed("dloss", {&seed, {DType::kF32, Shape{}}});
    executor.run({.parameter_version = 1});
    const TensorView g = network.gradients();
    return std::vector<float>(g.as<float>(), g.as<float>() + g.numel());
  };
  const std::vector<float> full = gradients("f32"), low = gradients("bf16");
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < full.size(); ++i) {
    difference += std::pow(static_cast<double>(full[i] - low[i]), 2);
    norm += std::pow(static_cast<double>(full[i]), 2);
  }
  EXPECT_GT(difference, 0) << "bf16 must not be the same code path";
  EXPECT_LT(std::sqrt(difference / norm), 0.03);
}

TEST(RunRecord, SurvivesJson) {
  RunRecord record{.model = image_model({"dense 10"}),
                   .loss = "softmax_cross_entropy",
                   .class_names = {"a \"b\"", "ü"},
                   .step = 123456789012,
                   .best_value = 0.1,
                   .config = "epochs = 3\n"};
  record.mean = {0.25f, 1e-20f};
  const RunRecord back = run_record_from_json(to_json(record), "test");
  EXPECT_EQ(to_json(back), to_json(record));
  EXPECT_EQ(back.step, record.step);
  EXPECT_EQ(back.model.sample, record.model.sample);
}

TEST(RunRecord, WithAMemberMissingIsRefusedByName) {
  std::string json = to_json(RunRecord{});
  json.replace(json.find("\"outputs\""), 9, "\"xutputs\"");
  try {
    run_record_from_json(json, "run.h5");
    FAIL() << "accepted";
  } catch (const InvalidInput& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("run.h5"), HasSubstr("outputs")));
  }
}

/// Means, variances, scales and shifts that are not those of the start.
void disturb(Network& network) {
  std::mt19937 engine(3);
  const auto fill = [&](const TensorView& v) {
    for (std::int64_t i = 0; i < v.numel(); ++i)
      v.as<float>()[i] = 0.5f + static_cast<float>(engine() % 1000) / 1000.0f;
  };
  for (const ParameterSlot& slot : network.parameters().layout().states())
    fill(network.parameters().state(slot.name));
  for (const ParameterSlot& slot : network.parameters().layout().parameters())
    if (slot.shape.rank() == 1) fill(network.parameters().parameter(slot.name));
}

std::vector<float> logits_of(Network& network, const std::vector<float>& x, std::int64_t rows,
                             Stream& stream) {
  Executor& executor = network.inference(rows);
  executor.feed("x", {x.data(), executor.input_type("x")});
  executor.run({.parameter_version = 1});
  return values_of<float>(executor.output("logits"), stream);
}

TEST(FoldForServing, GivesTheAnswersOfTheNetworkWithItsBatchNorms) {
  Stream stream{Device{}};
  constexpr std::int64_t kRows = 5;
  ModelSpec spec{.name = "layers",
                 .layers = {"conv 16 3x3 pad 1 no-bias", "batch_norm", "relu", "conv 8 3x3",
                            "batch_norm epsilon 0.01", "relu", "max_pool 2x2", "batch_norm",
                            "dense 12", "batch_norm", "relu", "dense 4"},
                 .hidden = {},
                 .activation = {},
                 .sample = Shape{3, 10, 10},
                 .outputs = 4};
  NetworkOptions options{.model = spec, .loss = "softmax_cross_entropy"};
  options.training = false;
  auto network = std::make_unique<Network>(options, kRows, stream);
  network->initialise(7);
  disturb(*network);
  std::vector<float> x(static_cast<std::size_t>(kRows * spec.sample.numel()));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  const std::vector<float> expected = logits_of(*network, x, kRows, stream);
  const auto folded = fold_for_serving(std::move(network), kRows, stream);
  EXPECT_EQ(folded->folds().size(), 3u);  // the one behind max_pool stays
  int norms = 0;
  for (const Node& node : folded->inference(kRows).plan().graph().nodes())
    norms += node.op->name == "batch_norm" ? 1 : 0;
  EXPECT_EQ(norms, 1);
  const std::vector<float> found = logits_of(*folded, x, kRows, stream);
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(found[i] - expected[i]), 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_GT(norm, 0.01);
  EXPECT_LT(std::sqrt(error / norm), 1e-5);
}

TEST(FoldForServing, GivesTheSameNetworkBackIfThereIsNothingToFold) {
  Stream stream{Device{}};
  NetworkOptions options{.model = {.name = "mlp", .hidden = "8", .sample = Shape{6}, .outputs = 3},
                         .loss = "softmax_cross_entropy"};
  options.training = false;
  auto network = std::make_unique<Network>(options, 2, stream);
  const Network* before = network.get();
  EXPECT_EQ(fold_for_serving(std::move(network), 2, stream).get(), before);
}

}  // namespace
}  // namespace phalanx
