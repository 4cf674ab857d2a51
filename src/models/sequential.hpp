// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "models/model.hpp"

namespace phalanx {

/// model = layers: the layer lines in order.
ValueId build_layers(Graph& graph, const ModelSpec& spec, ValueId x);

/// model = mlp: for every width in `hidden` a dense layer and the activation, then a dense layer of `outputs`.
ValueId build_mlp(Graph& graph, const ModelSpec& spec, ValueId x);

}  // namespace phalanx
