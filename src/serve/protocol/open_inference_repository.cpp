// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "core/text.hpp"
#include "serve/json_answer.hpp"
#include "serve/json_request.hpp"
#include "serve/protocol/open_inference.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 20;

/// Calls `use(key, value)` for the members of the body, which may be absent.
template <class Use>
void for_each_member(const std::string& body, Use use) {
  if (body.empty()) return;
  JsonBody json(body);
  for (auto field : json.root()) {
    const std::string_view key = json_value(field.unescaped_key(), "body");
    use(key, field.value());
  }
  json.check_end();
}

// --- index

void append_entry(std::string& to, const std::string& model, const ServedVersion* version,
                  const Repository& repository) {
  to += to.empty() ? "[" : ",";
  to += "{\"name\":";
  append_json_text(to, model);
  if (version != nullptr) {
    to += fmt::format(R"(,"version":"{}","state":"{}","reason":)", version->version,
                      name(version->state));
    append_json_text(to, repository.without_folder(version->reason));
  }
  to += '}';
}

/// Versions that are served or could not be loaded; of models that never were, the name. Without what the client's key may
/// not see.
std::string index_json(const Registry& registry, bool ready_only, const HttpExchange& exchange) {
  const Repository& repository = registry.repository();
  std::string body;
  for (const auto& [model, entry] : registry.models())
    for (const auto& [number, version] : entry.versions)
      if (exchange.may_see(model) && (!ready_only || version->state == VersionState::kReady))
        append_entry(body, model, version.get(), repository);
  if (!ready_only)
    for (const std::string& model : repository.models())
      if (exchange.may_see(model) && !registry.models().contains(model))
        append_entry(body, model, nullptr, repository);
  return body.empty() ? "[]" : body + "]";
}

Awaitable<HttpResponse> index(InferenceService& service, HttpExchange& exchange) {
  const std::string body = co_await exchange.read_text(kMostBytes);
  bool ready_only = false;
  for_each_member(body, [&](std::string_view key, auto value) {
    if (key == "ready" && value.get_bool().get(ready_only))
      throw Refusal(400, "ready must be true or false");
  });
  HttpResponse response;
  response.body = index_json(service.registry(), ready_only, exchange);
  co_return response;
}

// --- load and unload

/// Starts a change of the registry and waits for its end, during which everybody else is served. What went wrong, or nothing.
Awaitable<std::string> change(std::function<void(Registry::Done)> start) {
  const auto executor = co_await net::this_coro::executor;
  const auto error = std::make_shared<std::string>();
  const auto begin = [executor, error, start = std::move(start)](auto handler) {
    const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    start([executor, error, shared](const std::string& what) {
      *error = what;
      net::post(executor, [shared] { std::move (*shared)(); });
    });
  };
  co_await net::async_initiate<const net::use_awaitable_t<>, void()>(begin, net::use_awaitable);
  co_return *error;
}

void refuse_overrides(const std::string& body) {
  for_each_member(body, [](std::string_view key, auto value) {
    if (key != "parameters") return;
    for (auto field : json_value(value.get_object(), key)) {
      const std::string_view parameter = json_value(field.unescaped_key(), key);
      if (parameter == "config")
        throw Refusal(400,
                      "parameters: 'config' is not taken; a model is configured by its "
                      "config.json in the repository");
      if (parameter.starts_with("file:"))
        throw Refusal(400,
                      "parameters: files are not taken; versions are published into the "
                      "repository");
    }
  });
}

Awaitable<HttpResponse> load(InferenceService& service, HttpExchange& exchange,
                             const RouteValues& values) {
  const std::string body = co_await exchange.read_text(kMostBytes);
  refuse_overrides(body);
  const std::string model = values.find("model")->second;
  if (!is_model_name(model)) throw Refusal(400, "no model can be called so");
  Registry& registry = service.registry();
  exchange.model = model;
  std::function<void(Registry::Done)> start = [&registry, model](Registry::Done done) {
    registry.load(model, std::move(done));
  };
  const std::string error = co_await change(std::move(start));
  if (!error.empty())
    throw Refusal(400, fmt::format("model '{}' could not be loaded: {}", model,
                                   registry.repository().without_folder(error)));
  HttpResponse response;
  co_return response;
}

Awaitable<HttpResponse> unload(InferenceService& service, HttpExchange& exchange,
                               const RouteValues& values) {
  const std::string body = co_await exchange.read_text(kMostBytes);
  for_each_member(body, [](std::string_view, auto) {});
  const std::string model = values.find("model")->second;
  Registry& registry = service.registry();
  exchange.model = model;
  if (!registry.models().contains(model))
    throw Refusal(404, fmt::format("there is no model '{}'", model));
  std::function<void(Registry::Done)> start = [&registry, model](Registry::Done done) {
    registry.unload(model, std::move(done));
  };
  const std::string error = co_await change(std::move(start));
  if (!error.empty()) throw Refusal(400, error);
  HttpResponse response;
  co_return response;
}

}  // namespace

std::vector<Route> open_inference_repository_routes(InferenceService& service) {
  return {
      {"POST", "/v2/repository/index", Access::kAdmin, "Models, their versions and states",
       [&service](HttpExchange& exchange, const RouteValues&) { return index(service, exchange); },
       "RepositoryIndex", "RepositoryIndexRequest"},
      {"POST",
       "/v2/repository/models/{model}/load",
       Access::kAdmin,
       "Serves what the model's folder holds now",
       [&service](HttpExchange& exchange, const RouteValues& values) {
         return load(service, exchange, values);
       },
       {},
       "RepositoryChange"},
      {"POST",
       "/v2/repository/models/{model}/unload",
       Access::kAdmin,
       "Takes a model off the ranks",
       [&service](HttpExchange& exchange, const RouteValues& values) {
         return unload(service, exchange, values);
       },
       {},
       "RepositoryChange"}};
}

}  // namespace phalanx
