// SPDX-License-Identifier: Apache-2.0
#include "train/resume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/text.hpp"
#include "models/load.hpp"

namespace phalanx {
namespace {

/// Keys that a continued run may change.
constexpr std::string_view kMayChange[] = {"output",
                                           "device",
                                           "gemm",
                                           "conv",
                                           "cuda-graph",
                                           "threads",
                                           "data",
                                           "test-split",
                                           "cache-mib",
                                           "prefetch",
                                           "epochs",
                                           "max-steps",
                                           "max-seconds",
                                           "stop-loss",
                                           "early-stop",
                                           "bad-loss",
                                           "outlier-sigmas",
                                           "check-divergence",
                                           "stop-signals",
                                           "then-serve",
                                           "serve-flags",
                                           "trace",
                                           "trace-steps",
                                           "watts-per-node",
                                           "pue",
                                           "grid-g-per-kwh",
                                           "evaluate-steps",
                                           "evaluate-every",
                                           "checkpoint-every",
                                           "checkpoint-steps",
                                           "checkpoint-async",
                                           "keep",
                                           "log-every",
                                           "progress",
                                           "bucket",
                                           "gradient-compression",
                                           "shard-optimizer",
                                           "deadline-seconds"};

/// The settings of an effective configuration; repeated keys are joined.
std::map<std::string, std::string> settings(const std::string& config) {
  std::map<std::string, std::string> found;
  for (std::string_view line : split(config, '\n')) {
    line = trim(line);
    const auto equals = line.find('=');
    if (line.empty() || line.front() == '#' || equals == std::string_view::npos) continue;
    std::string& value = found[std::string(trim(line.substr(0, equals)))];
    value += (value.empty() ? "" : " | ") + std::string(trim(line.substr(equals + 1)));
  }
  return found;
}

TensorView slice(const TensorView& arena, const ParameterSlot& slot) {
  if (!arena) return {nullptr, {DType::kF32, slot.shape}};  // of another rank
  return {arena.as<float>() + slot.offset, {DType::kF32, slot.shape}};
}

}  // namespace

TrainingState training_state(const ParameterSet& parameters, const Optimizer& optimizer,
                             const ColumnShards* shards, HostSpaces& spaces, Stream& stream) {
  TrainingState state;
  spaces.free_all();
  const auto add = [&](std::string path, const std::string& parameter, TensorView values) {
    if (shards != nullptr && parameter == shards->weight()) {
      stream.synchronize();  // then what comes from a GPU has arrived
      state.gathered.push_back(shards->gather(values));
      values = state.gathered.back().view();
    }
    state.entries.push_back({std::move(path), values, parameter.empty()});
  };
  const ParameterLayout& layout = parameters.layout();
  const TensorView weights = on_host(parameters.parameters(), spaces.next(), stream);
  const TensorView states = on_host(parameters.states(), spaces.next(), stream);
  for (const ParameterSlot& slot : layout.parameters())
    add("/parameters/" + slot.name, slot.name, slice(weights, slot));
  for (const ParameterSlot& slot : layout.states())
    add("/states/" + slot.name, "", slice(states, slot));  // change in forward passes
  for (std::size_t i = 0; i < optimizer.slots().size(); ++i) {
    Tensor gathered;
    const TensorView whole = optimizer.whole_slot(i, gathered);
    const TensorView arena = whole ? on_host(whole, spaces.next(), stream) : whole;
    for (const ParameterSlot& slot : layout.parameters())
      add(fmt::format("/optimizer/{}/{}", optimizer.slots()[i], slot.name), slot.name,
          slice(arena, slot));
    if (optimizer.is_sharded()) state.gathered.push_back(std::move(gathered));
  }
  stream.synchronize();
  return state;
}

std::optional<Checkpoint> newest_checkpoint(const CheckpointFolder& folder, Communicator& comm,
                                            Stream& stream) {
  std::optional<Checkpoint> newest;
  std::int64_t step = -1;
  if (comm.rank() == 0) {
    newest = folder.newest();
    if (newest) step = run_record_from_json(newest->run(), newest->path()).step;
  }
  comm.broadcast({&step, {DType::kI64, Shape{1}}}, 0, stream);
  if (step >= 0 && !newest) newest = Checkpoint::read(folder.path_of_step(step));
  return newest;
}

void load_training_state(const Checkpoint& checkpoint, ParameterSet& parameters,
                         Optimizer& optimizer, const ColumnShards* shards, Stream& stream) {
  const auto load = [&](const std::string& path, const std::string& parameter, TensorView to) {
    if (shards == nullptr || parameter != shards->weight())
      return load_array(checkpoint, path, to, stream);
    std::vector<float> whole(static_cast<std::size_t>(to.shape()[0] * shards->total()));
    const TensorView view{whole.data(), {DType::kF32, Shape{to.shape()[0], shards->total()}}};
    checkpoint.load(path, view);
    shards->scatter(view, to);
  };
  for (const ParameterSlot& slot : parameters.layout().parameters())
    load("/parameters/" + slot.name, slot.name, parameters.parameter(slot.name));
  for (const ParameterSlot& slot : parameters.layout().states())
    load("/states/" + slot.name, "", parameters.state(slot.name));
  Tensor arena(parameters.parameters().type, stream);
  fill_zero(arena.view(), stream);  // padding
  for (std::size_t i = 0; i < optimizer.slots().size(); ++i) {
    for (const ParameterSlot& slot : parameters.layout().parameters())
      load(fmt::format("/optimizer/{}/{}", optimizer.slots()[i], slot.name), slot.name,
           slice(arena.view(), slot));
    optimizer.set_slot(i, arena.view());
  }
}

void check_same_run(const RunRecord& before, const RunRecord& now,
                    const std::string& checkpoint_path) {
  std::string differences;
  const auto old_settings = settings(before.config), new_settings = settings(now.config);
  for (const auto& [key, value] : new_settings) {
    if (std::find(std::begin(kMayChange), std::end(kMayChange), key) != std::end(kMayChange))
      continue;
    const auto old = old_settings.find(key);
    if (old != old_settings.end() && old->second != value)
      differences += fmt::format("\n  {} = {}, but the checkpoint was trained with {}", key, value,
                                 old->second);
  }
  if (before.data_sha256 != now.data_sha256)
    differences +=
        fmt::format("\n  the data set's content is {}..., but the checkpoint was trained on {}...",
                    now.data_sha256.substr(0, 16), before.data_sha256.substr(0, 16));
  if (!differences.empty())
    throw ConfigError(
        fmt::format("cannot go on from {}:{}\nUse the same values, or another output folder.",
                    checkpoint_path, differences));
}

}  // namespace phalanx
