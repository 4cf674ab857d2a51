// SPDX-License-Identifier: Apache-2.0
#include "serve/json_file.hpp"

namespace phalanx {

Json parse_json_file(const std::string& text, const std::string& source) {
  constexpr int kDeepest = 64;
  try {
    return Json::parse(text, [&](int depth, Json::parse_event_t, Json&) {
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
