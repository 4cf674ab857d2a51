// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "formats/checkpoint.hpp"
#include "models/network.hpp"
#include "models/run_record.hpp"

namespace phalanx {

/// A network as a checkpoint holds it.
struct LoadedModel {
  RunRecord record;
  std::unique_ptr<Network> network;  ///< without gradients
};

/// Rebuilds the network of a checkpoint and fills in parameters and states.
/// Throws    InvalidInput if the file is damaged or its arrays do not fit its own description; IoError if missing.
LoadedModel load_model(const std::string& checkpoint_path, std::int64_t batch, Stream& stream);

/// Copies /parameters and /states into a network of the same layout.
/// Throws    InvalidInput if an array is missing or has another shape.
void load_parameters(const Checkpoint& checkpoint, ParameterSet& parameters, Stream& stream);

/// One array of a checkpoint into memory of the stream's device.
/// Throws    likewise.
void load_array(const Checkpoint& checkpoint, const std::string& path, TensorView to,
                Stream& stream);

}  // namespace phalanx
