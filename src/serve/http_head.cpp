// SPDX-License-Identifier: Apache-2.0
#include "serve/http_head.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <charconv>
#include <limits>
#include <memory>
#include <new>

#include "serve/inference.hpp"

namespace phalanx {
namespace http = boost::beast::http;

namespace {

void split_target(std::string_view target, HttpHead& head) {
  const std::size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  if (path.empty() || path[0] != '/') throw Refusal(400, "the path must begin with '/'");
  head.path = decode_percent(path);
  for (std::size_t at = 1; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    head.segments.push_back(decode_percent(path.substr(at, end - at)));
    at = end + 1;
  }
  if (mark == std::string_view::npos) return;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    head.query.emplace_back(decode_percent(pair.substr(0, equals)), decode_percent(value));
    rest = pair.size() < rest.size() ? rest.substr(pair.size() + 1) : std::string_view();
  }
}

std::uint64_t parse_length(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = !text.empty() && text[0] >= '0' && text[0] <= '9';
  if (!is_number || error != std::errc() || end != text.data() + text.size())
    throw Refusal(400, "the content length is not a number");
  return value;
}

bool has_token(std::string_view list, std::string_view token) {
  return (", " + lower_case(list) + ",").find(fmt::format(" {},", token)) != std::string::npos;
}

void take_lengths(HttpHead& head) {
  int lengths = 0, codings = 0;
  for (const auto& [name, value] : head.headers) {
    if (name == "content-length") {
      head.content_length = parse_length(value);
      ++lengths;
    } else if (name == "transfer-encoding") {
      if (lower_case(value) != "chunked")
        throw Refusal(501, "of transfer codings only chunked is known");
      head.is_chunked = true;
      ++codings;
    }
  }
  if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0))
    throw Refusal(400, "the length of the body is said more than once");
}

bool is_harmless(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::size_t find_head_end(std::string_view bytes) {
  const std::size_t end = bytes.find("\r\n\r\n");
  const std::string_view head = bytes.substr(0, end == std::string_view::npos ? end : end + 4);
  if (head.size() > kMostHeadBytes)
    throw Refusal(431, fmt::format("the head is longer than {} bytes", kMostHeadBytes));
  for (std::size_t at = head.find('\n'); at != std::string_view::npos; at = head.find('\n', at + 1))
    if (at == 0 || head[at - 1] != '\r')
      throw Refusal(400, "a line of the head does not end in CR LF");
  if (head.find('\0') != std::string_view::npos) throw Refusal(400, "the head holds a NUL");
  return end == std::string_view::npos ? end : head.size();
}

std::string decode_percent(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* begin = text.data() + i + 1;
    if (i + 2 >= text.size() || std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2)
      throw Refusal(400, "an escape in the path is cut short");
    if (value == 0) throw Refusal(400, "the path holds a NUL");
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

HttpHead parse_http_head(std::string_view bytes) {
  if (bytes.find("\r\n ") != std::string_view::npos ||
      bytes.find("\r\n\t") != std::string_view::npos)
    throw Refusal(400, "a header line is continued, which is obsolete");
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(kMostHeadBytes));
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  boost::system::error_code error;
  parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (error == http::error::bad_version) throw Refusal(505, "the server speaks HTTP/1.1");
  if (error && error != http::error::need_more)
    throw Refusal(400, "the head of the request is malformed");
  if (!parser.is_header_done()) throw Refusal(400, "the head of the request is malformed");
  const auto& request = parser.get();
  HttpHead head;
  head.method = std::string(request.method_string());
  for (const auto& field : request)
    head.headers.emplace_back(
        lower_case(std::string_view(field.name_string().data(), field.name_string().size())),
        std::string(field.value()));
  take_lengths(head);
  const bool is_1_1 = request.version() >= 11;
  if (head.is_chunked && !is_1_1) throw Refusal(400, "HTTP/1.0 has no chunked bodies");
  const auto hosts =
      std::ranges::count_if(head.headers, [](const auto& field) { return field.first == "host"; });
  if (hosts > 1 || (hosts == 0 && is_1_1)) throw Refusal(400, "one Host header is needed");
  split_target({request.target().data(), request.target().size()}, head);
  const std::string_view connection = head.header("connection");
  head.keep_alive = is_1_1 ? !has_token(connection, "close") : has_token(connection, "keep-alive");
  if (const auto id = head.header("x-request-id"); is_harmless(id)) head.request_id = id;
  return head;
}

std::optional<std::string> inflate_short_body(std::string_view body, std::size_t most_bytes) {
  z_stream stream{};
  constexpr int kEitherFormat = 32 + MAX_WBITS;  // the header says which
  if (::inflateInit2(&stream, kEitherFormat) != Z_OK) throw std::bad_alloc();
  const auto end = [](z_stream* s) { ::inflateEnd(s); };
  const std::unique_ptr<z_stream, decltype(end)> ending(&stream, end);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  std::string out;
  int state = Z_OK;
  while (state == Z_OK) {
    constexpr std::size_t kPiece = std::size_t{64} << 10;
    const std::size_t had = out.size();
    out.resize(had + kPiece);
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + had);
    stream.avail_out = static_cast<uInt>(kPiece);
    state = ::inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
    if (out.size() > most_bytes) return std::nullopt;
    if (state == Z_BUF_ERROR || (state == Z_OK && stream.avail_in == 0 && stream.avail_out > 0))
      break;
  }
  if (state != Z_STREAM_END || stream.avail_in != 0)
    throw Refusal(400, "the compressed body is damaged or cut short");
  return out;
}

std::string inflate_body(std::string_view body, std::size_t most_bytes) {
  auto inflated = inflate_short_body(body, most_bytes);
  if (!inflated)
    throw Refusal(
        413, fmt::format("the body grows beyond {} bytes when it is decompressed", most_bytes));
  return std::move(*inflated);
}

std::string_view HttpHead::header(std::string_view name) const noexcept {
  for (const auto& [n, value] : headers)
    if (n == name) return value;
  return {};
}

std::string_view HttpHead::query_value(std::string_view name) const noexcept {
  for (const auto& [n, value] : query)
    if (n == name) return value;
  return {};
}

}  // namespace phalanx
