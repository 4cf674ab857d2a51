// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/openapi.hpp"

#include "core/text.hpp"
#include "serve/json_file.hpp"
#include "serve/protocol/openapi_schemas.hpp"

namespace phalanx {
namespace {

/// Names of the places of "/v2/models/{model}/infer".
Json parameters_of(const std::string& pattern) {
  Json parameters = Json::array();
  for (const std::string_view segment : split(std::string_view(pattern).substr(1), '/'))
    if (segment.starts_with('{'))
      parameters.push_back({{"name", segment.substr(1, segment.size() - 2)},
                            {"in", "path"},
                            {"required", true},
                            {"schema", {{"type", "string"}}}});
  return parameters;
}

/// "post_v2_models_model_infer": unique, since pattern and method are.
std::string operation_id(const std::string& method, const std::string& pattern) {
  std::string id = lower_case(method);
  for (const char c : pattern) {
    if (c == '/' || c == '.') id += '_';
    const bool is_letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (is_letter) id += c;
  }
  return id;
}

Json security_of(Access access) {
  if (access == Access::kPublic) return Json::array();
  return Json::array({{{"key", Json::array({access == Access::kAdmin ? "admin" : "infer"})}}});
}

Json reference(const std::string& schema) { return {{"$ref", "#/components/schemas/" + schema}}; }

/// What else than JSON a body may be that has this schema.
Json other_types_of(const std::string& schema) {
  const Json any = Json::object();
  if (schema == "PredictRequest") return {{"image/jpeg", any}, {"image/png", any}};
  if (schema == "InferRequest" || schema == "InferAnswer")
    return {{"application/octet-stream", any}};
  return any;
}

Json content_of(const std::string& schema) {
  Json content = other_types_of(schema);
  content["application/json"] = {{"schema", reference(schema)}};
  return content;
}

/// Of models whose samples are short, all zeros.
Json examples_of(const std::string& schema, const std::vector<OpenApiExample>& models) {
  constexpr std::int64_t kMostNumbers = 64;
  Json examples = Json::object();
  for (const OpenApiExample& m : models) {
    const std::int64_t count = m.input.shape.numel();
    if (count > kMostNumbers) continue;
    const std::vector<int> zeros(static_cast<std::size_t>(count), 0);
    Json value = {{"input", zeros}};
    if (schema == "InferRequest") {
      Json shape = {1};
      for (const std::int64_t size : m.input.shape.sizes()) shape.push_back(size);
      const Json input = {
          {"name", m.input.name}, {"shape", shape}, {"datatype", "FP32"}, {"data", zeros}};
      value = {{"inputs", Json::array({input})}};
    }
    examples[m.model] = {{"summary", "For model '" + m.model + "'"}, {"value", value}};
  }
  return examples;
}

Json operation_of(const Route& route, const std::vector<OpenApiExample>& models) {
  Json operation = {{"summary", route.summary},
                    {"operationId", operation_id(route.method, route.pattern)},
                    {"security", security_of(route.access)}};
  if (Json parameters = parameters_of(route.pattern); !parameters.empty())
    operation["parameters"] = std::move(parameters);
  if (!route.request_schema.empty()) {
    Json content = content_of(route.request_schema);
    const bool asks_a_model =
        route.request_schema == "PredictRequest" || route.request_schema == "InferRequest";
    if (Json examples = examples_of(route.request_schema, models);
        asks_a_model && !examples.empty())
      content["application/json"]["examples"] = std::move(examples);
    operation["requestBody"] = {{"required", asks_a_model}, {"content", std::move(content)}};
  }
  Json answer = {{"description", "The answer"}};
  if (!route.answer_schema.empty()) answer["content"] = content_of(route.answer_schema);
  // Who is not ready says so in the same words.
  if (route.answer_schema == "Ready") operation["responses"]["400"] = answer;
  operation["responses"]["2XX"] = std::move(answer);
  operation["responses"]["default"] = {{"$ref", "#/components/responses/Error"}};
  return operation;
}

}  // namespace

std::string openapi_document(const std::vector<Route>& routes, const std::string& program_version,
                             const std::vector<OpenApiExample>& examples) {
  Json paths = Json::object();
  for (const Route& route : routes)
    paths[route.pattern][lower_case(route.method)] = operation_of(route, examples);
  const Json document = {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Phalanx"},
        {"version", program_version},
        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"servers", Json::array({{{"url", "/"}}})},
      {"paths", paths},
      {"components",
       {{"securitySchemes",
         {{"key",
           {{"type", "http"},
            {"scheme", "bearer"},
            {"description", "A key of the server. Servers without keys ask for none."}}}}},
        {"schemas", Json::parse(openapi_schemas())},
        {"responses",
         {{"Error",
           {{"description", "Why there is no answer"}, {"content", content_of("Error")}}}}}}}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<Route> openapi_routes(const Router& router, const Registry& registry,
                                  std::string program_version) {
  return {{"GET", "/openapi.json", Access::kInfer, "All paths, as an OpenAPI document",
           [&router, &registry, version = std::move(program_version)](
               HttpExchange& exchange, const RouteValues&) -> Awaitable<HttpResponse> {
             HttpResponse response;
             std::vector<OpenApiExample> examples;
             for (const auto& [model, entry] : registry.models())
               for (const auto& [number, v] : entry.versions)
                 if (exchange.may_see(model) && v->state == VersionState::kReady &&
                     (examples.empty() || examples.back().model != model))
                   examples.push_back({model, v->manifest.input});
             response.body = openapi_document(router.routes(), version, examples);
             co_return response;
           },
           "OpenApi"}};
}

}  // namespace phalanx
