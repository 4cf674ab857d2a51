// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace phalanx {
namespace {

std::string_view operator_for(const std::string& optimizer) {
  if (optimizer == "sgd") return "sgd";
  if (optimizer == "adam" || optimizer == "adamw") return "adam";
  throw ConfigError(fmt::format("optimizer: expected sgd, adam or adamw, found '{}'", optimizer));
}

}  // namespace

Optimizer::Optimizer(const TrainConfig& config, std::int64_t elements, Stream& stream)
    : config_(config), op_(find_operator(operator_for(config.optimizer))) {
  const auto add_slot = [&](std::string name) {
    slots_.push_back({std::move(name), Tensor({DType::kF32, Shape{elements}}, stream)});
    std::ranges::fill(slots_.back().values.as<float>(), 0.0f);
  };
  if (op_.name == "adam") {
    attributes_.set("decoupled", std::int64_t{config.optimizer == "adamw"});
    add_slot("first_moment");
    add_slot("second_moment");
  } else {
    attributes_.set("nesterov", std::int64_t{config.nesterov});
    if (config.momentum != 0) add_slot("momentum");
  }
}

void Optimizer::update(const Slice& slice, double learning_rate, double gradient_scale,
                       std::int64_t step, Stream& stream) {
  const auto f = [](double v) { return static_cast<float>(v); };
  std::array<float, 8> hyper{f(learning_rate), f(config_.weight_decay), f(gradient_scale),
                             f(config_.momentum)};
  std::int64_t constants = 4;
  if (op_.name == "adam") {
    const auto t = static_cast<double>(step + 1);
    // The kernel accumulates with the betas as f32 holds them, so the corrections must start from the same numbers.
    const auto correction = [&](double beta) {
      return f(1 - std::pow(static_cast<double>(f(beta)), t));
    };
    hyper = {hyper[0],
             hyper[1],
             hyper[2],
             f(config_.beta1),
             f(config_.beta2),
             f(config_.epsilon),
             correction(config_.beta1),
             correction(config_.beta2)};
    constants = 8;
  }
  // w, g, the slots (one at least, which SGD without momentum leaves empty), hyper; w', the slots, the copy.
  const std::size_t slots = std::max<std::size_t>(slots_.size(), 1);
  std::array<ConstTensorView, 5> in{slice.parameters, slice.gradients};
  std::array<TensorView, 4> out{slice.parameters};
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    in[2 + i] = slots_[i].values.view();
    out[1 + i] = slots_[i].values.view();
  }
  in[2 + slots] = {hyper.data(), {DType::kF32, Shape{constants}}};
  out[1 + slots] = slice.copy;
  attributes_.set("copy", std::int64_t{slice.copy ? 1 : 0});
  OpContext ctx{.stream = stream, .attributes = attributes_, .workspace = {}};
  kernels_for(op_, stream.device())
      .forward(ctx, std::span(in).first(3 + slots),
               std::span(out).first(1 + slots + (slice.copy ? 1 : 0)));
}

double norm(ConstTensorView values) {
  const auto* v = values.as<float>();
  const std::int64_t count = values.numel();
  // Eight partial sums: vectorises, and the order does not depend on anything but the length.
  std::array<double, 8> sums{};
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int k = 0; k < 8; ++k)
      sums[k] += static_cast<double>(v[i + k]) * static_cast<double>(v[i + k]);
  for (; i < count; ++i) sums[0] += static_cast<double>(v[i]) * static_cast<double>(v[i]);
  double sum = 0;
  for (double s : sums) sum += s;
  return std::sqrt(sum);
}

}  // namespace phalanx
