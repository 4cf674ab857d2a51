// SPDX-License-Identifier: Apache-2.0
#include "serve/manifest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "serve/json_file.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {
namespace {

constexpr const char* kFormat = "phalanx.model";
constexpr std::int64_t kFormatVersion = 1;

Json schema_json(const TensorSchema& schema) {
  Json shape = Json::array();
  for (std::int64_t size : schema.shape.sizes()) shape.push_back(size);
  return {{"name", schema.name}, {"datatype", "FP32"}, {"shape", shape}};
}

/// One tensor, in a list of one.
TensorSchema schema_from(const Members& root, const char* member, const std::string& source) {
  const Json& list = root.at(member, "a list of one tensor");
  if (!list.is_array() || list.size() != 1) root.refuse(member, "a list of one tensor", list);
  const Members tensor(list[0], source, fmt::format("/{}/0", member));
  if (tensor.get<std::string>("datatype", "\"FP32\"") != "FP32")
    tensor.refuse("datatype", "\"FP32\"", tensor.at("datatype", ""));
  TensorSchema schema{tensor.get<std::string>("name", "a text"), {}};
  const Json& sizes = tensor.at("shape", "a list of sizes");
  if (!sizes.is_array() || !std::ranges::all_of(sizes, [](const Json& v) {
        return v.is_number_integer() && v.get<std::int64_t>() > 0;
      }))
    tensor.refuse("shape", "a list of positive sizes", sizes);
  try {
    const auto values = sizes.get<std::vector<std::int64_t>>();
    schema.shape = Shape(std::span(values));
  } catch (const std::exception&) {
    tensor.refuse("shape", "a list of at most 8 sizes", sizes);
  }
  // Larger than any request.
  constexpr std::int64_t kMostValues = std::int64_t{1} << 28;
  if (schema.shape.numel() > kMostValues)
    tensor.refuse("shape", fmt::format("at most {} values", kMostValues), sizes);
  return schema;
}

std::map<std::string, Manifest::File> files_from(const Members& root) {
  const Json& object = root.at("files", "an object");
  std::map<std::string, Manifest::File> files;
  const Members members = root.object("files");
  for (const auto& item : object.items()) {
    if (!is_model_name(item.key()))
      root.refuse("files", "an object of names of letters, digits, '_', '.' and '-'",
                  Json(item.key()));
    const Members file = members.object(item.key().c_str());
    Manifest::File f{static_cast<std::uint64_t>(file.integer("bytes", 0)),
                     file.get<std::string>("sha256", "64 hexadecimal digits")};
    const bool is_digest = f.sha256.size() == 64 && std::ranges::all_of(f.sha256, [](char c) {
                             return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                           });
    if (!is_digest) file.refuse("sha256", "64 lower-case hexadecimal digits", f.sha256);
    files.emplace(item.key(), std::move(f));
  }
  if (!files.contains(kWeightsFile))
    root.refuse("files", fmt::format("an object that names {}", kWeightsFile), object);
  return files;
}

void read_preparation(const Members& root, Manifest& m) {
  const Members pre = root.object("preprocessing");
  m.is_image = pre.get<bool>("image", "true or false");
  m.divide_by = pre.get<double>("divide_by", "a number > 0");
  if (!(m.divide_by > 0) || !std::isfinite(m.divide_by))
    pre.refuse("divide_by", "a number > 0", pre.at("divide_by", ""));
  m.normalise = pre.get<bool>("normalise", "true or false");
  const int rank = m.input.shape.rank();
  if (rank != (m.is_image ? 3 : 1))
    root.refuse("inputs", m.is_image ? "one tensor [C, H, W]" : "one tensor [F]",
                root.at("inputs", ""));
  if (!m.normalise) return;
  const auto statistics = static_cast<std::size_t>(m.input.shape[0]);
  m.mean = pre.floats("mean", statistics);
  m.std = pre.floats("std", statistics);
}

void read_answers(const Members& root, Manifest& m) {
  const Members post = root.object("postprocessing");
  const auto outputs = static_cast<std::size_t>(m.output.shape.numel());
  m.labels = post.get<std::vector<std::string>>("labels", "a list of texts");
  if (!m.labels.empty() && m.labels.size() != outputs)
    post.refuse("labels", fmt::format("none or {} texts", outputs), post.at("labels", ""));
  m.threshold = post.get<double>("threshold", "a number from 0 to 1");
  if (!(m.threshold >= 0 && m.threshold <= 1))
    post.refuse("threshold", "a number from 0 to 1", post.at("threshold", ""));
  m.normalise_targets = post.get<bool>("normalise_targets", "true or false");
  if (!m.normalise_targets) return;
  m.target_mean = post.floats("target_mean", outputs);
  m.target_std = post.floats("target_std", outputs);
}

}  // namespace

std::string to_json(const Manifest& m) {
  Json files = Json::object();
  for (const auto& [name, file] : m.files)
    files[name] = {{"bytes", file.size_bytes}, {"sha256", file.sha256}};
  Json metrics = Json::object();
  for (const auto& [name, value] : m.metrics) metrics[name] = value;
  const Json json = {{"format", kFormat},
                     {"format_version", kFormatVersion},
                     {"name", m.name},
                     {"version", m.version},
                     {"created", m.created},
                     {"task", name(m.task)},
                     {"files", files},
                     {"inputs", Json::array({schema_json(m.input)})},
                     {"outputs", Json::array({schema_json(m.output)})},
                     {"preprocessing",
                      {{"image", m.is_image},
                       {"divide_by", m.divide_by},
                       {"normalise", m.normalise},
                       {"mean", m.mean},
                       {"std", m.std}}},
                     {"postprocessing",
                      {{"labels", m.labels},
                       {"threshold", m.threshold},
                       {"normalise_targets", m.normalise_targets},
                       {"target_mean", m.target_mean},
                       {"target_std", m.target_std}}},
                     {"metrics", metrics},
                     {"parent",
                      {{"step", m.step},
                       {"epoch", m.epoch},
                       {"data_sha256", m.data_sha256},
                       {"config", m.config}}}};
  return json.dump(1) + "\n";
}

Manifest manifest_from_json(const std::string& text, const std::string& source) {
  const Json json = parse_json_file(text, source);
  const Members root(json, source, "");
  if (root.get<std::string>("format", "\"phalanx.model\"") != kFormat)
    root.refuse("format", fmt::format("\"{}\"", kFormat), root.at("format", ""));
  if (root.integer("format_version", 1) != kFormatVersion)
    root.refuse("format_version", fmt::format("{}", kFormatVersion), root.at("format_version", ""));
  Manifest m;
  m.name = root.get<std::string>("name", "a text");
  m.version = root.integer("version", 1);
  m.created = root.get<std::string>("created", "a text");
  try {
    m.task = task_from_name(root.get<std::string>("task", "a text"));
  } catch (const InvalidInput& e) {
    throw InvalidInput(fmt::format("{}: /task: {}", source, e.what()));
  }
  m.files = files_from(root);
  m.input = schema_from(root, "inputs", source);
  m.output = schema_from(root, "outputs", source);
  if (m.output.shape.rank() != 1)
    root.refuse("outputs", "one tensor [values]", root.at("outputs", ""));
  read_preparation(root, m);
  read_answers(root, m);
  m.metrics = root.get<std::map<std::string, double>>("metrics", "an object of numbers");
  const Members parent = root.object("parent");
  m.step = parent.integer("step", 0);
  m.epoch = parent.integer("epoch", 0);
  m.data_sha256 = parent.get<std::string>("data_sha256", "a text");
  m.config = parent.get<std::string>("config", "a text");
  return m;
}

Manifest manifest_of(const RunRecord& record, double threshold) {
  Manifest m;
  m.task = task_of(record.loss);
  m.input.shape = record.model.sample;
  m.output.shape = Shape{record.model.outputs};
  m.is_image = record.is_image;
  m.divide_by = record.is_image ? 255 : 1;
  m.normalise = record.normalise;
  if (m.normalise) m.mean = record.mean, m.std = record.std;
  m.labels = m.task == Task::kClassification ? record.class_names : record.target_names;
  m.threshold = threshold;
  m.normalise_targets = record.normalise_targets;
  if (m.normalise_targets) m.target_mean = record.target_mean, m.target_std = record.target_std;
  if (record.has_best) m.metrics[record.best_metric] = record.best_value;
  m.step = record.step;
  m.epoch = record.epoch;
  m.data_sha256 = record.data_sha256;
  m.config = record.config;
  return m;
}

}  // namespace phalanx
