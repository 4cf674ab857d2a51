// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

/// The candidate with the least edit distance (Levenshtein) to `word`; empty if there is no candidate.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// Without white space at both ends.
std::string_view trim(std::string_view text) noexcept;

/// Splits at every `separator`; empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);

/// Splits at runs of white space; no empty parts.
std::vector<std::string_view> split_words(std::string_view text);

/// The whole text as a number.
/// Throws    InvalidInput "expected an integer, found 'x'" (or "a number").
std::int64_t parse_int(std::string_view text);
double parse_double(std::string_view text);

/// "17.3 MiB"
std::string human_bytes(std::uint64_t size_bytes);

/// "3 m 12 s", "850 ms"
std::string human_seconds(double seconds);

}  // namespace phalanx
