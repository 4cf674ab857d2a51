// SPDX-License-Identifier: Apache-2.0
#include "serve/http.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace phalanx {

std::size_t HttpResponse::size_bytes() const noexcept {
  std::size_t size = body.size();
  for (const auto piece : pieces) size += piece.size();
  return size;
}

bool HttpExchange::is_plain() const noexcept {
  const std::string_view coding = head_.header("content-encoding");
  return head_.content_length && !head_.is_chunked && (coding.empty() || coding == "identity");
}

HttpResponse error_response(int status, std::string_view text, int retry_after_s) {
  HttpResponse response;
  response.status = status;
  response.body = R"({"error":)" + json_text(text) + "}";
  if (retry_after_s > 0)
    response.headers.emplace_back("Retry-After", fmt::format("{}", retry_after_s));
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 421: return "Misdirected Request";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

}  // namespace phalanx
