// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/openapi.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "serve/json_file.hpp"

namespace phalanx {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

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
  std::string id = lower(method);
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

Json operation_of(const Route& route) {
  Json operation = {{"summary", route.summary},
                    {"operationId", operation_id(route.method, route.pattern)},
                    {"security", security_of(route.access)}};
  if (Json parameters = parameters_of(route.pattern); !parameters.empty())
    operation["parameters"] = std::move(parameters);
  if (route.method == "POST" || route.method == "PUT")
    operation["requestBody"] = {{"content", {{"*/*", Json::object()}}}};
  operation["responses"] = {{"2XX", {{"description", "The answer"}}},
                            {"default", {{"$ref", "#/components/responses/Error"}}}};
  return operation;
}

}  // namespace

std::string openapi_document(const std::vector<Route>& routes, const std::string& program_version) {
  Json paths = Json::object();
  for (const Route& route : routes) paths[route.pattern][lower(route.method)] = operation_of(route);
  const Json error = {{"type", "object"},
                      {"required", Json::array({"error"})},
                      {"properties", {{"error", {{"type", "string"}}}}}};
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
        {"schemas", {{"Error", error}}},
        {"responses",
         {{"Error",
           {{"description", "Why there is no answer"},
            {"content",
             {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}}}}}}}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<Route> openapi_routes(const Router& router, std::string program_version) {
  return {{"GET", "/openapi.json", Access::kInfer, "All paths, as an OpenAPI document",
           [&router, version = std::move(program_version)](
               HttpExchange&, const RouteValues&) -> Awaitable<HttpResponse> {
             HttpResponse response;
             response.body = openapi_document(router.routes(), version);
             co_return response;
           }}};
}

}  // namespace phalanx
