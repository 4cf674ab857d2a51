// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace phalanx {

/// Appends a JSON string, quotes included, as json_text() writes it.
void append_json_text(std::string& to, std::string_view text);
/// Appends the shortest number that is read as the same f32.
void append_json_number(std::string& to, float value);
/// Appends [v, ...].
void append_json_numbers(std::string& to, std::span<const float> values);

}  // namespace phalanx
