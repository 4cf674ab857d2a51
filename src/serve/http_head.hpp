// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phalanx {

/// The head of a request, checked: what a handler sees before a byte of the body is read.
struct HttpHead {
  std::string method;
  std::string path;                   ///< percent escapes decoded once, without the query
  std::vector<std::string> segments;  ///< of the path, decoded; "/v2/models" has two
  std::vector<std::pair<std::string, std::string>> query;
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case
  std::optional<std::uint64_t> content_length;
  bool is_chunked = false;
  bool keep_alive = true;
  std::string client;      ///< address
  std::string request_id;  ///< of the client (x-request-id, if it is harmless), or ours

  /// Value of the first header of this name, which is lower case; empty if there is none.
  std::string_view header(std::string_view name) const noexcept;
  std::string_view query_value(std::string_view name) const noexcept;
};

/// The longest head: request line and headers.
inline constexpr std::size_t kMostHeadBytes = 16 << 10;

/// Where the head that these bytes begin with ends, behind its empty line; npos if it goes on.
/// Throws    Refusal 431 if it is too long, 400 for a line that ends without a carriage return and for a NUL: whoever waits for
///           the end of such a head waits in vain.
std::size_t find_head_end(std::string_view bytes);

/// Parses the bytes of a head, the empty line included. Stricter than HTTP asks for: header lines that are continued, a length
/// beside a transfer coding, and two lengths are refused, since whoever stands in between may read them otherwise.
/// Throws    Refusal 400, 501 (transfer codings but chunked), 505.
HttpHead parse_http_head(std::string_view bytes);

/// A-Z as a-z.
std::string lower_case(std::string_view text);

/// %41 -> A, once.
/// Throws    Refusal 400 for a cut escape or a NUL.
std::string decode_percent(std::string_view text);

/// Inflates gzip or deflate (zlib).
/// Throws    Refusal 413 if it grows beyond `most_bytes`, 400 if it is damaged.
std::string inflate_body(std::string_view body, std::size_t most_bytes);
/// Nothing if it grows beyond `most_bytes`.
/// Throws    Refusal 400 if it is damaged.
std::optional<std::string> inflate_short_body(std::string_view body, std::size_t most_bytes);

}  // namespace phalanx
