// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "serve/json_request.hpp"

namespace phalanx {

/// Lists of whole numbers from 0 to 9,999,999, as pixels come, read in one pass: element by element simdjson takes eight times
/// that. `text`: one list, with eight more bytes that may be read behind it. Returns nothing for whatever else it meets: what
/// is another number, malformed, empty, ragged, nested deeper than kDeepestList or longer than `most_values`.
std::optional<NumberList> read_integer_lists(std::string_view text, std::size_t most_values);

}  // namespace phalanx
