// SPDX-License-Identifier: Apache-2.0
#include "serve/router.hpp"

#include <fmt/format.h>

#include "core/text.hpp"

namespace phalanx {
namespace {

bool is_place(const std::string& segment) { return segment.starts_with('{'); }

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& segments,
             RouteValues& values) {
  if (pattern.size() != segments.size()) return false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_place(pattern[i])) {
      if (segments[i].empty()) return false;
      values[pattern[i].substr(1, pattern[i].size() - 2)] = segments[i];
    } else if (pattern[i] != segments[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

void Router::add(std::vector<Route> routes) {
  for (Route& route : routes) {
    std::vector<std::string> pattern;
    if (route.pattern != "/")
      for (std::string_view segment : split(std::string_view(route.pattern).substr(1), '/'))
        pattern.emplace_back(segment);
    patterns_.push_back(std::move(pattern));
    routes_.push_back(std::move(route));
  }
}

Router::Match Router::find(const HttpHead& head) const {
  std::string methods;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    RouteValues values;
    if (!matches(patterns_[i], head.segments, values)) continue;
    const Route& route = routes_[i];
    if (route.method == head.method || (route.method == "GET" && head.method == "HEAD"))
      return {&route, std::move(values)};
    if (methods.find(route.method) == std::string::npos)
      methods += methods.empty() ? route.method : ", " + route.method;
  }
  if (methods.empty()) throw Refusal(404, "there is no such path");
  throw Refusal(405, fmt::format("this path takes {}", methods));
}

}  // namespace phalanx
