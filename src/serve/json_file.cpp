// SPDX-License-Identifier: Apache-2.0
#include "serve/json_file.hpp"

#include <set>

namespace phalanx {

Json parse_json_file(const std::string& text, const std::string& source) {
  constexpr int kDeepest = 64;
  std::vector<std::set<std::string>> open;  // members so far of the objects around
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (event == Json::parse_event_t::object_start) open.emplace_back();
      if (event == Json::parse_event_t::object_end) open.pop_back();
      if (event == Json::parse_event_t::key &&
          !open.back().insert(parsed.get<std::string>()).second)
        throw InvalidInput(fmt::format("{}: member '{}' is given more than once", source,
                                       parsed.get<std::string>()));
      if (depth > kDeepest)
        throw InvalidInput(
            fmt::format("{}: lists and objects are nested deeper than {}", source, kDeepest));
      return true;
    });
  } catch (const Json::exception& e) {
    throw InvalidInput(fmt::format("{}: is not JSON: {}", source, e.what()));
  }
}

}  // namespace phalanx
