// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.hpp"

#include <fmt/format.h>

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

Optimizer::Optimizer(const TrainConfig& config, std::int64_t elements, GradientReducer* reducer,
                     Stream& stream)
    : config_(config),
      op_(find_operator(operator_for(config.optimizer))),
      elements_(elements),
      reducer_(reducer),
      stream_(stream),
      all_{{0, elements}} {
  if (op_.name == "adam") {
    attributes_.set("decoupled", std::int64_t{config.optimizer == "adamw"});
    slot_names_ = {"first_moment", "second_moment"};
  } else {
    attributes_.set("nesterov", std::int64_t{config.nesterov});
    if (config.momentum != 0) slot_names_ = {"momentum"};
  }
  std::int64_t count = 0;
  for (const Range& range : owned()) count += range.size();
  for (std::size_t i = 0; i < slot_names_.size(); ++i) {
    slots_.emplace_back(TensorType(DType::kF32, Shape{count}), stream_);
    std::ranges::fill(slots_.back().as<float>(), 0.0f);
  }
}

const std::vector<Range>& Optimizer::owned() const noexcept {
  return is_sharded() ? reducer_->owned() : all_;
}

std::size_t Optimizer::state_bytes() const noexcept {
  std::size_t bytes = 0;
  for (const Tensor& slot : slots_) bytes += slot.type().size_bytes();
  return bytes;
}

TensorView Optimizer::whole_slot(std::size_t slot, Tensor& space) const {
  if (!is_sharded()) return slots_[slot].view();
  if (reducer_->is_first()) space = Tensor({DType::kF32, Shape{elements_}}, stream_);
  reducer_->collect(slots_[slot].view(), space.view(), stream_);
  return space.view();
}

void Optimizer::set_slot(std::size_t slot, ConstTensorView arena) {
  float* to = slots_[slot].as<float>().data();
  for (const Range& range : owned())
    to = std::copy_n(arena.as<float>() + range.begin, range.size(), to);
}

namespace {

TensorView slice(const TensorView& arena, const Range& range) {
  if (!arena) return {};
  return {
      arena.as<std::byte>() + static_cast<std::size_t>(range.begin) * size_bytes(arena.type.dtype),
      {arena.type.dtype, Shape{range.size()}}};
}

}  // namespace

Optimizer::Updated Optimizer::update(const Arenas& arenas, double learning_rate,
                                     double gradient_scale, std::int64_t step, Stream& stream) {
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
  // What other ranks update has to be rounded here, so all of the copy is.
  const bool writes_copy = arenas.copy && !is_sharded();
  attributes_.set("copy", std::int64_t{writes_copy ? 1 : 0});
  const auto forward = kernels_for(op_, stream.device()).forward;
  // w, g, the slots (one at least, which SGD without momentum leaves empty), hyper; w', the slots, the copy.
  const std::size_t slots = std::max<std::size_t>(slots_.size(), 1);
  std::int64_t first = 0;  // of the range, in the slots
  for (const Range& range : owned()) {
    const TensorView parameters = slice(arenas.parameters, range);
    std::array<ConstTensorView, 5> in{
        parameters, ConstTensorView{arenas.gradients.as<float>() + range.begin, parameters.type}};
    std::array<TensorView, 4> out{parameters};
    for (std::size_t i = 0; i < slots_.size(); ++i)
      in[2 + i] = out[1 + i] = slice(slots_[i].view(), {first, first + range.size()});
    in[2 + slots] = {hyper.data(), {DType::kF32, Shape{constants}}};
    if (writes_copy) out[1 + slots] = slice(arenas.copy, range);
    OpContext ctx{.stream = stream, .attributes = attributes_, .workspace = {}};
    forward(ctx, std::span(in).first(3 + slots),
            std::span(out).first(1 + slots + (writes_copy ? 1 : 0)));
    first += range.size();
  }
  Updated updated{.has_copy = writes_copy};
  if (is_sharded()) updated.gathering = reducer_->gather(arenas.parameters, stream);
  return updated;
}

}  // namespace phalanx
