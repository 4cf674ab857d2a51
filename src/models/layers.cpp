// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "core/text.hpp"
#include "models/model.hpp"

namespace phalanx {
namespace {

/// PyTorch's default for dense and convolution layers: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
Initializer uniform_fan_in(std::int64_t fan_in) {
  return {Initializer::Kind::kUniform,
          fan_in > 0 ? 1.0 / std::sqrt(static_cast<double>(fan_in)) : 0.0};
}

const std::vector<std::string> kLayers = {
    "conv",       "max_pool", "average_pool", "global_average_pool", "flatten", "softmax", "dense",
    "batch_norm", "dropout",  "relu",         "leaky_relu",          "elu",     "sigmoid", "tanh",
    "gelu"};

}  // namespace

/// The words of one layer line after the keyword: positional ones first, then "key value" pairs and flags.
struct LayerBuilder::Words {
  std::vector<std::string_view> words;
  std::size_t next = 0;

  bool at_end() const { return next == words.size(); }

  std::string_view positional(std::string_view what) {
    if (at_end()) throw InvalidInput(fmt::format("expected {}", what));
    return words[next++];
  }

  /// A number, if one comes next.
  std::optional<double> optional_number() {
    if (at_end() || std::isalpha(static_cast<unsigned char>(words[next][0])) != 0)
      return std::nullopt;
    return parse_double(words[next++]);
  }

  /// Takes a flag or the value behind a key out of the line, wherever it stands.
  bool flag(std::string_view key) { return take(key, false).has_value(); }
  std::optional<std::string_view> value(std::string_view key) { return take(key, true); }
  std::int64_t integer(std::string_view key, std::int64_t fallback) {
    const auto text = value(key);
    return text ? parse_int(*text) : fallback;
  }

  void done() const {
    if (!at_end()) throw InvalidInput(fmt::format("did not expect '{}'", words[next]));
  }

 private:
  std::optional<std::string_view> take(std::string_view key, bool with_value) {
    for (std::size_t i = next; i < words.size(); ++i) {
      if (words[i] != key) continue;
      std::string_view found = words[i];
      if (with_value) {
        if (i + 1 == words.size())
          throw InvalidInput(fmt::format("expected a value after '{}'", key));
        found = words[i + 1];
      }
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(i),
                  words.begin() + static_cast<std::ptrdiff_t>(i + (with_value ? 2 : 1)));
      return found;
    }
    return std::nullopt;
  }
};

namespace {

/// "3x5" or "3" (a square) as {3, 5}.
Ints parse_window(std::string_view text) {
  const auto parts = split(text, 'x');
  if (parts.size() > 2) throw InvalidInput(fmt::format("expected HEIGHTxWIDTH, found '{}'", text));
  Ints window{parse_int(parts[0]), parse_int(parts.back())};
  for (std::int64_t w : window)
    if (w < 1) throw InvalidInput(fmt::format("a window must be at least 1x1, found '{}'", text));
  return window;
}

}  // namespace

std::string LayerBuilder::next_name(std::string_view op) {
  for (auto& [name, count] : counts_)
    if (name == op) return fmt::format("{}{}", op, ++count);
  counts_.emplace_back(op, 1);
  return fmt::format("{}1", op);
}

void LayerBuilder::plain(std::string_view op, const Attributes& attributes) {
  x_ = graph_.add_one(op, attributes, {x_}, next_name(op));
}

void LayerBuilder::conv(Words& words) {
  const std::int64_t channels = parse_int(words.positional("the number of channels"));
  const Ints kernel = parse_window(words.positional("a kernel size such as 3x3"));
  const std::int64_t stride = words.integer("stride", 1), dilation = words.integer("dilation", 1);
  const std::int64_t groups = words.integer("groups", 1);
  const bool bias = !words.flag("no-bias");
  const auto pad = words.value("pad");
  words.done();
  if (shape().rank() != 4)
    throw InvalidInput(fmt::format("conv needs images [N, C, H, W], but the layer before gives {}",
                                   shape().str()));
  if (channels < 1 || groups < 1 || shape()[1] % groups != 0 || channels % groups != 0)
    throw InvalidInput(fmt::format("{} groups must divide {} input and {} output channels", groups,
                                   shape()[1], channels));
  Attributes attributes{{"kernel_shape", kernel},
                        {"strides", Ints{stride, stride}},
                        {"dilations", Ints{dilation, dilation}},
                        {"group", groups}};
  if (pad && *pad == "same") {
    attributes.set("auto_pad", std::string("SAME_UPPER"));
  } else {
    const std::int64_t p = pad ? parse_int(*pad) : 0;
    attributes.set("pads", Ints{p, p, p, p});
  }
  const std::string name = next_name("conv");
  const std::int64_t fan_in = shape()[1] / groups * kernel[0] * kernel[1];
  std::vector<ValueId> inputs{
      x_, graph_.add_parameter(
              name + ".weight",
              {DType::kF32, Shape{channels, shape()[1] / groups, kernel[0], kernel[1]}},
              uniform_fan_in(fan_in))};
  if (bias)
    inputs.push_back(graph_.add_parameter(name + ".bias", {DType::kF32, Shape{channels}},
                                          uniform_fan_in(fan_in)));
  x_ = graph_.add_one("conv", attributes, inputs, name);
}

void LayerBuilder::dense(Words& words) {
  const std::int64_t width = parse_int(words.positional("the number of outputs"));
  const bool bias = !words.flag("no-bias");
  words.done();
  if (width < 1) throw InvalidInput(fmt::format("expected at least one output, found {}", width));
  if (shape().rank() != 2) plain("flatten", {});
  const std::string name = next_name("dense");
  const std::int64_t fan_in = shape()[1];
  std::vector<ValueId> inputs{
      x_, graph_.add_parameter(name + ".weight", {DType::kF32, Shape{width, fan_in}},
                               uniform_fan_in(fan_in))};
  if (bias)
    inputs.push_back(
        graph_.add_parameter(name + ".bias", {DType::kF32, Shape{width}}, uniform_fan_in(fan_in)));
  x_ = graph_.add_one("gemm", {{"transB", std::int64_t{1}}}, inputs, name);
}

void LayerBuilder::pool(std::string_view op, Words& words) {
  const Ints kernel = parse_window(words.positional("a window such as 2x2"));
  const auto stride = words.value("stride");
  const std::int64_t pad = words.integer("pad", 0);
  words.done();
  const Ints strides = stride ? Ints{parse_int(*stride), parse_int(*stride)} : kernel;
  plain(op, {{"kernel_shape", kernel}, {"strides", strides}, {"pads", Ints{pad, pad, pad, pad}}});
}

void LayerBuilder::batch_norm(Words& words) {
  const auto epsilon = words.value("epsilon"), momentum = words.value("momentum");
  words.done();
  if (shape().rank() < 2)
    throw InvalidInput(
        fmt::format("batch_norm needs channels, but the layer before gives {}", shape().str()));
  const std::string name = next_name("batch_norm");
  const TensorType per_channel{DType::kF32, Shape{shape()[1]}};
  const Initializer zeros{}, ones{Initializer::Kind::kConstant, 1.0};
  x_ = graph_.add_one("batch_norm",
                      {{"epsilon", epsilon ? parse_double(*epsilon) : 1e-5},
                       {"momentum", momentum ? parse_double(*momentum) : 0.9},
                       {"training_mode", std::int64_t{1}}},
                      {x_, graph_.add_parameter(name + ".weight", per_channel, ones),
                       graph_.add_parameter(name + ".bias", per_channel, zeros),
                       graph_.add_state(name + ".running_mean", per_channel, zeros),
                       graph_.add_state(name + ".running_var", per_channel, ones)},
                      name);
}

void LayerBuilder::add(std::string_view line) {
  ++line_;
  Words words{split_words(line)};
  try {
    const std::string_view op = words.positional("a layer");
    if (op == "conv") return conv(words);
    if (op == "dense") return dense(words);
    if (op == "max_pool" || op == "average_pool") return pool(op, words);
    if (op == "batch_norm") return batch_norm(words);
    if (op == "dropout") {
      const double ratio = parse_double(words.positional("the share of values to drop"));
      words.done();
      return plain(op, {{"ratio", ratio}});
    }
    if (op == "leaky_relu" || op == "elu") {
      const auto alpha = words.optional_number();
      words.done();
      return plain(op, alpha ? Attributes{{"alpha", *alpha}} : Attributes{});
    }
    if (std::find(kLayers.begin(), kLayers.end(), op) == kLayers.end())
      throw InvalidInput(
          fmt::format("there is no layer '{}'; the nearest is '{}'", op, nearest(op, kLayers)));
    words.done();
    plain(op, {});
  } catch (const Error& e) {
    throw ConfigError(
        fmt::format("layer {} '{}' on input {}: {}", line_, line, shape().str(), e.what()));
  }
}

}  // namespace phalanx
