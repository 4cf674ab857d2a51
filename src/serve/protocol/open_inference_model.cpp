// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "serve/json_answer.hpp"
#include "serve/protocol/open_inference.hpp"
#include "serve/protocol/open_inference_answer.hpp"

namespace phalanx {
namespace {

HttpResponse json_response(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

const ServedModelEntry& find_model(const Registry& registry, const std::string& model) {
  const auto found = registry.models().find(model);
  if (found == registry.models().end() || found->second.versions.empty())
    throw Refusal(404, fmt::format("there is no model '{}'", model));
  return found->second;
}

struct Found {
  const ServedModelEntry& entry;
  ServedVersionPtr version;
};

/// The version that a question is about: a version, an alias, or the highest that is ready. Unlike Registry::resolve it takes
/// no turn in the split of the aliases, and finds what is not ready.
Found find_version(const Registry& registry, const RouteValues& values) {
  const std::string& model = values.find("model")->second;
  const ServedModelEntry& entry = find_model(registry, model);
  const auto which = values.find("version");
  if (which == values.end()) {
    ServedVersionPtr highest;
    for (const auto& [number, served] : entry.versions)
      if (!highest || served->state == VersionState::kReady) highest = served;
    return {entry, highest};
  }
  const auto alias = entry.config.aliases.find(which->second);
  for (const auto& [number, served] : entry.versions) {
    const bool is_it = alias != entry.config.aliases.end()
                           ? alias->second.version == number
                           : fmt::format("{}", number) == which->second;
    if (is_it) return {entry, served};
  }
  throw Refusal(404, fmt::format("model '{}' has no version or alias '{}'", model, which->second));
}

HttpResponse model_ready(const Registry& registry, const RouteValues& values) {
  const ServedVersionPtr version = find_version(registry, values).version;
  if (version->state != VersionState::kReady)
    throw Refusal(400, fmt::format("version {} of model '{}' is not ready", version->version,
                                   version->model));
  std::string body = "{\"name\":";
  append_json_text(body, version->model);
  return json_response(body + ",\"ready\":true}");
}

HttpResponse stats_of(const Registry& registry, const HttpExchange& exchange,
                      const RouteValues& values) {
  std::string body;
  const auto append = [&](const ServedVersion& version) {
    body += body.empty() ? "{\"model_stats\":[" : ",";
    body += model_stats_json(version, registry.group(), exchange.may_operate());
  };
  if (values.contains("version")) {
    append(*find_version(registry, values).version);
  } else {
    const ServedModelEntry& entry = find_model(registry, values.find("model")->second);
    for (const auto& [number, version] : entry.versions) append(*version);
  }
  return json_response(body + "]}");
}

/// Of what the client's key may see.
HttpResponse stats_of_all(const Registry& registry, const HttpExchange& exchange) {
  std::string body;
  for (const auto& [name, entry] : registry.models())
    for (const auto& [number, version] : entry.versions)
      if (exchange.may_see(name))
        body += (body.empty() ? "" : ",") +
                model_stats_json(*version, registry.group(), exchange.may_operate());
  return json_response("{\"model_stats\":[" + body + "]}");
}

/// A handler of what answers at once.
template <class Answer>
auto at_once(Answer answer) {
  return [answer = std::move(answer)](HttpExchange&,
                                      const RouteValues& values) -> Awaitable<HttpResponse> {
    co_return answer(values);
  };
}

}  // namespace

std::vector<Route> open_inference_model_routes(InferenceService& service,
                                               std::function<bool()> is_ready) {
  const Registry& registry = service.registry();
  std::vector<Route> routes;
  const auto add = [&routes](const char* pattern, Access access, const char* summary,
                             const char* schema, auto answer) {
    routes.push_back({"GET", pattern, access, summary, at_once(std::move(answer)), schema});
  };
  // By the model's own version, and by one that the path names.
  const auto add_both = [&add](const std::string& what, const char* summary, const char* schema,
                               auto answer) {
    for (const char* path : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"})
      add((path + what).c_str(), Access::kInfer, summary, schema, answer);
  };
  add("/v2/health/live", Access::kPublic, "Whether the server lives", "Live",
      [](const RouteValues&) { return json_response(R"({"live":true})"); });
  add("/v2/health/ready", Access::kPublic, "Whether the server and its models are ready", "Ready",
      [is_ready = std::move(is_ready)](const RouteValues&) {
        const bool ready = is_ready();
        HttpResponse response = json_response(ready ? R"({"ready":true})" : R"({"ready":false})");
        response.status = ready ? 200 : 400;
        return response;
      });
  add("/v2", Access::kInfer, "Name, version and extensions of the server", "ServerMetadata",
      [](const RouteValues&) { return json_response(server_metadata_json()); });
  routes.push_back(
      {"GET", "/v2/models/stats", Access::kInfer, "Statistics of all models",
       [&registry](HttpExchange& exchange, const RouteValues&) -> Awaitable<HttpResponse> {
         co_return stats_of_all(registry, exchange);
       },
       "ModelStatistics"});
  add_both("", "Inputs and outputs of a model", "ModelMetadata",
           [&registry](const RouteValues& values) {
             const Found found = find_version(registry, values);
             return json_response(model_metadata_json(found.entry, *found.version));
           });
  add_both("/ready", "Whether a model is ready", "ModelReady",
           [&registry](const RouteValues& values) { return model_ready(registry, values); });
  add_both("/config", "How a model is served", "ModelConfig",
           [&registry](const RouteValues& values) {
             return json_response(model_config_json(*find_version(registry, values).version));
           });
  for (const char* path :
       {"/v2/models/{model}/stats", "/v2/models/{model}/versions/{version}/stats"})
    routes.push_back(
        {"GET", path, Access::kInfer, "Statistics of a model",
         [&registry](HttpExchange& exchange, const RouteValues& values) -> Awaitable<HttpResponse> {
           co_return stats_of(registry, exchange, values);
         },
         "ModelStatistics"});
  return routes;
}

}  // namespace phalanx
