// SPDX-License-Identifier: Apache-2.0
#include "models/run_record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace phalanx {
namespace {

using Json = nlohmann::ordered_json;

Json sizes_of(const Shape& shape) {
  Json sizes = Json::array();
  for (std::int64_t s : shape.sizes()) sizes.push_back(s);
  return sizes;
}

}  // namespace

std::string to_json(const RunRecord& r) {
  const Json json = {
      {"model",
       {{"name", r.model.name},
        {"layers", r.model.layers},
        {"hidden", r.model.hidden},
        {"activation", r.model.activation},
        {"sample", sizes_of(r.model.sample)},
        {"outputs", r.model.outputs},
        {"loss", r.loss},
        {"precision", r.precision}}},
      {"data",
       {{"is_image", r.is_image},
        {"normalise", r.normalise},
        {"normalise_targets", r.normalise_targets},
        {"mean", r.mean},
        {"std", r.std},
        {"target_mean", r.target_mean},
        {"target_std", r.target_std},
        {"class_names", r.class_names},
        {"feature_names", r.feature_names},
        {"target_names", r.target_names},
        {"sha256", r.data_sha256}}},
      {"position",
       {{"step", r.step},
        {"epoch", r.epoch},
        {"step_in_epoch", r.step_in_epoch},
        {"seconds", r.seconds},
        {"best_metric", r.best_metric},
        {"has_best", r.has_best},
        {"best_value", r.best_value},
        {"evaluations_since_best", r.evaluations_since_best},
        {"evaluation_due", r.evaluation_due},
        {"epoch_loss_sum", r.epoch_loss_sum},
        {"epoch_samples", r.epoch_samples},
        {"recent_losses", r.recent_losses}}},
      {"config", r.config},
  };
  return json.dump(1);
}

RunRecord run_record_from_json(const std::string& text, const std::string& source) {
  try {
    const Json json = Json::parse(text);
    const Json &model = json.at("model"), &data = json.at("data"), &position = json.at("position");
    RunRecord r;
    model.at("name").get_to(r.model.name);
    model.at("layers").get_to(r.model.layers);
    model.at("hidden").get_to(r.model.hidden);
    model.at("activation").get_to(r.model.activation);
    r.model.sample =
        Shape(std::span<const std::int64_t>(model.at("sample").get<std::vector<std::int64_t>>()));
    model.at("outputs").get_to(r.model.outputs);
    model.at("loss").get_to(r.loss);
    model.at("precision").get_to(r.precision);
    data.at("is_image").get_to(r.is_image);
    data.at("normalise").get_to(r.normalise);
    data.at("normalise_targets").get_to(r.normalise_targets);
    data.at("mean").get_to(r.mean);
    data.at("std").get_to(r.std);
    data.at("target_mean").get_to(r.target_mean);
    data.at("target_std").get_to(r.target_std);
    data.at("class_names").get_to(r.class_names);
    data.at("feature_names").get_to(r.feature_names);
    data.at("target_names").get_to(r.target_names);
    data.at("sha256").get_to(r.data_sha256);
    position.at("step").get_to(r.step);
    position.at("epoch").get_to(r.epoch);
    position.at("step_in_epoch").get_to(r.step_in_epoch);
    position.at("seconds").get_to(r.seconds);
    position.at("best_metric").get_to(r.best_metric);
    position.at("has_best").get_to(r.has_best);
    position.at("best_value").get_to(r.best_value);
    position.at("evaluations_since_best").get_to(r.evaluations_since_best);
    position.at("evaluation_due").get_to(r.evaluation_due);
    position.at("epoch_loss_sum").get_to(r.epoch_loss_sum);
    position.at("epoch_samples").get_to(r.epoch_samples);
    position.at("recent_losses").get_to(r.recent_losses);
    json.at("config").get_to(r.config);
    return r;
  } catch (const Json::exception& e) {
    throw InvalidInput(fmt::format("{}: /run is not the record of a run: {}", source, e.what()));
  } catch (const InvalidArgument& e) {
    throw InvalidInput(fmt::format("{}: /run: {}", source, e.what()));
  }
}

}  // namespace phalanx
