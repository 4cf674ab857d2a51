// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "serve/json_request.hpp"

namespace phalanx {

struct IntegerLists {
  NumberList list;
  std::size_t size_bytes = 0;  ///< of its text
};

/// The list of whole numbers from 0 to 9,999,999, or of such lists, that a text begins with. Pixels come so; read in one pass,
/// they take an eighth of what simdjson takes element by element. Returns nothing for whatever else it meets: what is another
/// number, malformed, empty, ragged, nested deeper than kDeepestList or longer than `most_values`.
std::optional<IntegerLists> read_integer_lists(std::string_view text, std::size_t most_values);

}  // namespace phalanx
