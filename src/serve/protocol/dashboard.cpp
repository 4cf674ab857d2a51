// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/dashboard.hpp"

#include <fmt/format.h>

namespace phalanx {
namespace {

/// Nothing from elsewhere, no inline script, no frame around the page. A picture that a user drops is shown from memory: blob.
constexpr const char* kContentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string content_type(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

/// Browsers ask each time whether they have the newest, and mostly get 304.
HttpResponse answer(const DashboardFile& file, const HttpHead& head) {
  const std::string tag = fmt::format("\"{}\"", file.digest);
  HttpResponse response;
  response.content_type = content_type(file.name);
  response.headers = {{"ETag", tag},
                      {"Cache-Control", "no-cache"},
                      {"Content-Security-Policy", kContentSecurityPolicy},
                      {"Cross-Origin-Opener-Policy", "same-origin"},
                      {"Referrer-Policy", "no-referrer"}};
  if (head.header("if-none-match").find(tag) != std::string_view::npos)
    response.status = 304;
  else
    response.body = file.text;
  return response;
}

}  // namespace

std::vector<Route> dashboard_routes() {
  std::vector<Route> routes;
  for (const DashboardFile& file : dashboard_files()) {
    const bool is_page = file.name == "index.html";
    routes.push_back(
        {"GET", is_page ? "/" : fmt::format("/dashboard/{}", file.name), Access::kPublic,
         is_page ? "The dashboard" : "A file of the dashboard",
         [&file](HttpExchange& exchange, const RouteValues&) -> Awaitable<HttpResponse> {
           co_return answer(file, exchange.head());
         }});
  }
  return routes;
}

}  // namespace phalanx
