// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/open_inference_answer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "serve/json_answer.hpp"
#include "serve/json_file.hpp"
#include "serve/protocol/open_inference.hpp"

namespace phalanx {
namespace {

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// "value:index:label" of the largest outputs of every row, largest first.
std::vector<std::string> classification(const Manifest& manifest, std::span<const float> values,
                                        std::size_t outputs, std::size_t count) {
  std::vector<std::string> found;
  std::vector<std::size_t> order(outputs);
  for (std::size_t row = 0; row < values.size() / outputs; ++row) {
    const float* y = values.data() + row * outputs;
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(order.begin(), middle, order.end(), [y](std::size_t a, std::size_t b) {
      return y[a] > y[b] || (y[a] == y[b] && a < b);
    });
    for (std::size_t i = 0; i < count; ++i) {
      std::string text;
      append_json_number(text, y[order[i]]);
      text += fmt::format(":{}", order[i]);
      if (!manifest.labels.empty()) text += ":" + manifest.labels[order[i]];
      found.push_back(std::move(text));
    }
  }
  return found;
}

std::string as_bytes_tensor(const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const auto size = static_cast<std::uint32_t>(text.size());
    bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes += text;
  }
  return bytes;
}

void append_data(std::string& to, const std::vector<std::string>& texts) {
  to += ",\"data\":[";
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) to += ',';
    append_json_text(to, texts[i]);
  }
  to += ']';
}

}  // namespace

HttpResponse infer_response(const ServedVersion& version, const InferSchema& schema,
                            const InferRequest& request, const SharedBlock& output) {
  HttpResponse response;
  std::string& body = response.body;
  const auto rows = static_cast<std::size_t>(request.rows);
  const auto outputs = static_cast<std::size_t>(schema.outputs);
  const std::span<const float> values(reinterpret_cast<const float*>(output->data()),
                                      rows * outputs);
  const bool is_classes = request.classes > 0;
  body = "{";
  if (request.id) {
    body += "\"id\":";
    append_json_text(body, *request.id);
    body += ',';
  }
  body += "\"model_name\":";
  append_json_text(body, schema.model);
  fmt::format_to(std::back_inserter(body), R"(,"model_version":"{}","outputs":[{{"name":)",
                 version.version);
  append_json_text(body, schema.output);
  fmt::format_to(std::back_inserter(body), R"(,"datatype":"{}","shape":[{},{}])",
                 is_classes ? "BYTES" : "FP32", rows,
                 is_classes ? request.classes : schema.outputs);
  std::vector<std::string> classes;
  if (is_classes)
    classes = classification(version.manifest, values, outputs,
                             static_cast<std::size_t>(request.classes));
  if (!request.is_answer_binary) {
    if (is_classes) {
      append_data(body, classes);
    } else {
      body += ",\"data\":";
      append_json_numbers(body, values);
    }
    body += "}]}";
    return response;
  }
  const std::string of_classes = as_bytes_tensor(classes);
  const std::size_t size = is_classes ? of_classes.size() : values.size_bytes();
  fmt::format_to(std::back_inserter(body), R"(,"parameters":{{"binary_data_size":{}}}}}]}})", size);
  response.content_type = "application/octet-stream";
  response.headers.emplace_back(kJsonSizeHeader, fmt::format("{}", body.size()));
  if (is_classes) {
    body += of_classes;
  } else {
    response.pieces.push_back(std::as_bytes(values));
    response.keep.push_back(output);
  }
  return response;
}

std::string server_metadata_json() {
  return R"({"name":"phalanx","version":")" PHALANX_VERSION R"(","extensions":)"
         R"(["classification","model_repository","model_configuration","binary_tensor_data",)"
         R"("parameters","statistics"]})";
}

namespace {

Json tensor_metadata(const TensorSchema& tensor) {
  Json shape = {-1};
  for (const std::int64_t size : tensor.shape.sizes()) shape.push_back(size);
  return {{"name", tensor.name}, {"datatype", "FP32"}, {"shape", shape}};
}

}  // namespace

std::string model_metadata_json(const ServedModelEntry& entry, const ServedVersion& version) {
  Json versions = Json::array();
  for (const auto& [number, served] : entry.versions)
    if (served->state == VersionState::kReady) versions.push_back(fmt::format("{}", number));
  return dump({{"name", version.model},
               {"versions", versions},
               {"platform", "phalanx"},
               {"inputs", Json::array({tensor_metadata(version.manifest.input)})},
               {"outputs", Json::array({tensor_metadata(version.manifest.output)})}});
}

namespace {

Json tensor_config(const TensorSchema& tensor) {
  Json dims = Json::array();
  for (const std::int64_t size : tensor.shape.sizes()) dims.push_back(size);
  return {{"name", tensor.name}, {"data_type", "TYPE_FP32"}, {"dims", dims}};
}

Json policy_config(const VersionPolicy& policy) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll: return {{"all", Json::object()}};
    case VersionPolicy::Kind::kSpecific: return {{"specific", {{"versions", policy.versions}}}};
    case VersionPolicy::Kind::kLatest: break;
  }
  return {{"latest", {{"num_versions", policy.count}}}};
}

/// What happens to samples before the network, and to what it computes behind it.
Json parameters_config(const ServedVersion& version) {
  const Manifest& m = version.manifest;
  const Json before = {{"image", m.is_image},
                       {"divide_by", m.divide_by},
                       {"normalise", m.normalise},
                       {"mean", m.mean},
                       {"std", m.std}};
  const Json behind = {{"labels", m.labels},
                       {"threshold", m.threshold},
                       {"normalise_targets", m.normalise_targets},
                       {"target_mean", m.target_mean},
                       {"target_std", m.target_std}};
  Json parameters = Json::object();
  const auto put = [&parameters](const char* name, const std::string& text) {
    parameters[name] = {{"string_value", text}};
  };
  put("task", std::string(name(m.task)));
  put("preprocessing", dump(before));
  put("postprocessing", dump(behind));
  put("input_datatypes", m.is_image ? "FP32,UINT8" : "FP32");
  put("weights_sha256", m.files.at(kWeightsFile).sha256);
  put("created", m.created);
  return parameters;
}

}  // namespace

std::string model_config_json(const ServedVersion& version) {
  const ModelConfig& c = version.config;
  Json input = tensor_config(version.manifest.input);
  input["format"] = version.manifest.is_image ? "FORMAT_NCHW" : "FORMAT_NONE";
  Json output = tensor_config(version.manifest.output);
  const Json queue = {{"timeout_action", "REJECT"},
                      {"default_timeout_microseconds", c.timeout_ms * 1000},
                      {"allow_timeout_override", true},
                      {"max_queue_size", c.max_queue_rows}};
  return dump({{"name", version.model},
               {"platform", "phalanx"},
               {"backend", "phalanx"},
               {"version_policy", policy_config(c.versions)},
               {"max_batch_size", c.max_batch_size},
               {"input", Json::array({input})},
               {"output", Json::array({output})},
               {"dynamic_batching",
                {{"preferred_batch_size", c.preferred_batch_sizes},
                 {"max_queue_delay_microseconds", c.max_queue_delay_us},
                 {"preserve_ordering", false},
                 {"priority_levels", kPriorityLevels},
                 {"default_priority_level", kDefaultPriority},
                 {"default_queue_policy", queue}}},
               {"parameters", parameters_config(version)},
               {"model_transaction_policy", {{"decoupled", false}}}});
}

namespace {

Json counted(const CountAndTime& what) { return {{"count", what.count}, {"ns", what.ns}}; }

}  // namespace

std::string model_stats_json(const ServedVersion& version, const RankGroup& group,
                             bool tells_memory) {
  const VersionStats& s = version.stats;
  Json batches = Json::array();
  for (const auto& [rows, batch] : s.batches)
    batches.push_back({{"batch_size", rows},
                       {"compute_input", counted(batch.input)},
                       {"compute_infer", counted(batch.infer)},
                       {"compute_output", counted(batch.output)}});
  Json memory = Json::array();
  const bool is_told = tells_memory && version.state == VersionState::kReady;
  for (std::size_t i = 0; is_told && i < group.ranks().size(); ++i)
    memory.push_back({{"type", group.ranks()[i].device.starts_with("cpu") ? "CPU" : "GPU"},
                      {"id", i},
                      {"byte_size", version.memory_bytes}});
  return dump({{"name", version.model},
               {"version", fmt::format("{}", version.version)},
               {"last_inference", s.last_inference_ms},
               {"inference_count", s.inferences},
               {"execution_count", s.executions},
               {"inference_stats",
                {{"success", counted(s.success)},
                 {"fail", counted(s.fail)},
                 {"queue", counted(s.queue)},
                 {"compute_input", counted(s.input)},
                 {"compute_infer", counted(s.infer)},
                 {"compute_output", counted(s.output)},
                 {"cache_hit", counted({})},
                 {"cache_miss", counted({})}}},
               {"response_stats", Json::object()},
               {"batch_stats", batches},
               {"memory_usage", memory}});
}

}  // namespace phalanx
