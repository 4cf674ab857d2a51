// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace phalanx {
namespace {

constexpr std::size_t kGradientScale = 2;  // its place in `hyper` of both operators

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
  const TensorType hyper(DType::kF32, Shape{op_.name == "adam" ? 8 : 4});
  hyper_on_host_ = HostTensor(hyper, stream_.device());
  hyper_ = Tensor(hyper, stream_);
  std::int64_t count = 0;
  for (const Range& range : owned()) count += range.size();
  for (std::size_t i = 0; i < slot_names_.size(); ++i) {
    slots_.emplace_back(TensorType(DType::kF32, Shape{count}), stream_, "optimizer state");
    fill_zero(slots_.back().view(), stream_);
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
  for (const Range& range : owned()) {
    const TensorType type(DType::kF32, Shape{range.size()});
    copy({arena.as<float>() + range.begin, type}, {to, type}, stream_);
    to += range.size();
  }
}

namespace {

TensorView slice(const TensorView& arena, const Range& range) {
  if (!arena) return {};
  return {
      arena.as<std::byte>() + static_cast<std::size_t>(range.begin) * size_bytes(arena.type.dtype),
      {arena.type.dtype, Shape{range.size()}}};
}

}  // namespace

void Optimizer::set_constants(double learning_rate, std::int64_t step, double gradient_scale) {
  const auto f = [](double v) { return static_cast<float>(v); };
  const std::span<float> hyper = hyper_on_host_.as<float>();
  hyper[0] = f(learning_rate);
  hyper[1] = f(config_.weight_decay);
  hyper[kGradientScale] = f(gradient_scale);
  if (op_.name == "adam") {
    const auto t = static_cast<double>(step + 1);
    // The kernel accumulates with the betas as f32 holds them, so the corrections must start from the same numbers.
    const auto correction = [&](double beta) {
      return f(1 - std::pow(static_cast<double>(f(beta)), t));
    };
    hyper[3] = f(config_.beta1);
    hyper[4] = f(config_.beta2);
    hyper[5] = f(config_.epsilon);
    hyper[6] = correction(config_.beta1);
    hyper[7] = correction(config_.beta2);
  } else {
    hyper[3] = f(config_.momentum);
  }
}

Optimizer::Updated Optimizer::update(const Arenas& arenas, double learning_rate,
                                     double gradient_scale, std::int64_t step, Stream& stream) {
  set_constants(learning_rate, step, gradient_scale);
  upload(hyper_on_host_.view(), hyper_.view(), stream);
  return update_with_hyper(arenas, stream);
}

Optimizer::Updated Optimizer::update(const Arenas& arenas, ConstTensorView gradient_scale,
                                     Stream& stream) {
  upload(hyper_on_host_.view(), hyper_.view(), stream);
  copy(gradient_scale, {hyper_.as<float>().data() + kGradientScale, gradient_scale.type}, stream);
  return update_with_hyper(arenas, stream);
}

Optimizer::Updated Optimizer::update_with_hyper(const Arenas& arenas, Stream& stream) {
  // What other ranks update has to be rounded here, so all of the copy is.
  const bool writes = writes_copy(arenas);
  attributes_.set("copy", std::int64_t{writes ? 1 : 0});
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
    in[2 + slots] = hyper_.view();
    if (writes) out[1 + slots] = slice(arenas.copy, range);
    OpContext ctx{.stream = stream, .attributes = attributes_, .workspace = {}};
    forward(ctx, std::span(in).first(3 + slots),
            std::span(out).first(1 + slots + (writes ? 1 : 0)));
    first += range.size();
  }
  Updated updated{.has_copy = writes};
  if (is_sharded()) updated.gathering = reducer_->gather(arenas.parameters, stream);
  return updated;
}

}  // namespace phalanx
