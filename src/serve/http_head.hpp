// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "serve/http.hpp"

namespace phalanx {

/// The longest head: request line and headers.
inline constexpr std::size_t kMostHeadBytes = 16 << 10;

/// Parses the bytes of a head, the empty line included. Stricter than HTTP asks for: header lines that are continued, a length
/// beside a transfer coding, and two lengths are refused, since whoever stands in between may read them otherwise.
/// Throws    Refusal 400, 501 (transfer codings but chunked), 505.
HttpHead parse_http_head(std::string_view bytes);

/// %41 -> A, once.
/// Throws    Refusal 400 for a cut escape or a NUL.
std::string decode_percent(std::string_view text);

/// Inflates gzip or deflate (zlib).
/// Throws    Refusal 413 if it grows beyond `most_bytes`, 400 if it is damaged.
std::string inflate_body(std::string_view body, std::size_t most_bytes);

}  // namespace phalanx
