// SPDX-License-Identifier: Apache-2.0
#include "models/served_network.hpp"

#include <cmath>
#include <vector>

namespace phalanx {
namespace {

void copy_arrays(Network& from, Network& to, Stream& stream) {
  ParameterSet &a = from.parameters(), &b = to.parameters();
  for (const ParameterSlot& slot : b.layout().parameters())
    for (const ParameterSlot& known : a.layout().parameters())
      if (known.name == slot.name) copy(a.parameter(slot.name), b.parameter(slot.name), stream);
  for (const ParameterSlot& slot : b.layout().states())
    copy(a.state(slot.name), b.state(slot.name), stream);
}

void fold(const BatchNormFold& f, ParameterSet& trained, ParameterSet& to, Stream& stream) {
  const auto values = [&](const TensorView& v) { return values_of<float>(v, stream); };
  std::vector<float> weight = values(trained.parameter(f.weight));
  const std::vector<float> scale = values(trained.parameter(f.scale));
  const std::vector<float> shift = values(trained.parameter(f.shift));
  const std::vector<float> mean = values(trained.state(f.mean));
  const std::vector<float> variance = values(trained.state(f.variance));
  std::vector<float> bias(scale.size(), 0.0f);
  if (f.had_bias) bias = values(trained.parameter(f.bias));
  const std::size_t row = weight.size() / scale.size();
  for (std::size_t o = 0; o < scale.size(); ++o) {
    const double s =
        static_cast<double>(scale[o]) / std::sqrt(static_cast<double>(variance[o]) + f.epsilon);
    for (std::size_t i = o * row; i < (o + 1) * row; ++i)
      weight[i] = static_cast<float>(static_cast<double>(weight[i]) * s);
    bias[o] = static_cast<float>((static_cast<double>(bias[o]) - static_cast<double>(mean[o])) * s +
                                 static_cast<double>(shift[o]));
  }
  const TensorView w = to.parameter(f.weight), b = to.parameter(f.bias);
  upload({weight.data(), w.type}, w, stream);
  upload({bias.data(), b.type}, b, stream);
  stream.synchronize();
}

}  // namespace

std::unique_ptr<Network> fold_for_serving(std::unique_ptr<Network> trained, std::int64_t batch,
                                          Stream& stream) {
  NetworkOptions options = trained->options();
  options.training = false;
  options.folds_batch_norm = true;
  auto folded = std::make_unique<Network>(std::move(options), batch, stream);
  if (folded->folds().empty()) return trained;
  copy_arrays(*trained, *folded, stream);
  for (const BatchNormFold& f : folded->folds())
    fold(f, trained->parameters(), folded->parameters(), stream);
  return folded;
}

}  // namespace phalanx
