// SPDX-License-Identifier: Apache-2.0
#include "models/sequential.hpp"

#include <fmt/format.h>

#include "core/text.hpp"

namespace phalanx {

ValueId build_layers(Graph& graph, const ModelSpec& spec, ValueId x) {
  if (spec.layers.empty())
    throw ConfigError("model = layers needs at least one 'layer = ...' line");
  LayerBuilder builder(graph, x);
  for (const std::string& line : spec.layers) builder.add(line);
  return builder.output();
}

ValueId build_mlp(Graph& graph, const ModelSpec& spec, ValueId x) {
  LayerBuilder builder(graph, x);
  for (std::string_view width : split_words(spec.hidden)) {
    builder.add(fmt::format("dense {}", width));
    builder.add(spec.activation);
  }
  builder.add(fmt::format("dense {}", spec.outputs));
  return builder.output();
}

}  // namespace phalanx
