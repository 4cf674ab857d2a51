// SPDX-License-Identifier: Apache-2.0
#include "models/load.hpp"

#include <fmt/format.h>

namespace phalanx {

void load_array(const Checkpoint& checkpoint, const std::string& path, TensorView to,
                Stream& stream) {
  if (stream.device().backend == nullptr) return checkpoint.load(path, to);
  std::vector<float> values(static_cast<std::size_t>(to.numel()));
  const TensorView host{values.data(), to.type};
  checkpoint.load(path, host);
  upload(host, to, stream);
}

void load_parameters(const Checkpoint& checkpoint, ParameterSet& parameters, Stream& stream) {
  for (const ParameterSlot& slot : parameters.layout().parameters())
    load_array(checkpoint, "/parameters/" + slot.name, parameters.parameter(slot.name), stream);
  for (const ParameterSlot& slot : parameters.layout().states())
    load_array(checkpoint, "/states/" + slot.name, parameters.state(slot.name), stream);
}

LoadedModel load_model(const std::string& checkpoint_path, std::int64_t batch, Stream& stream) {
  const Checkpoint checkpoint = Checkpoint::read(checkpoint_path);
  LoadedModel loaded{.record = run_record_from_json(checkpoint.run(), checkpoint_path),
                     .network = nullptr};
  try {
    loaded.network = std::make_unique<Network>(
        NetworkOptions{loaded.record.model, loaded.record.loss, loaded.record.precision, false},
        batch, stream);
  } catch (const ConfigError& e) {
    throw InvalidInput(
        fmt::format("{}: the model it describes cannot be built: {}", checkpoint_path, e.what()));
  }
  load_parameters(checkpoint, loaded.network->parameters(), stream);
  return loaded;
}

}  // namespace phalanx
