// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/aside.hpp"
#include "serve/asio.hpp"
#include "serve/http_head.hpp"
#include "serve/inference.hpp"
#include "serve/shared_arena.hpp"

namespace phalanx {

struct ApiKey;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  /// Sent behind the body, without a copy.
  std::vector<std::span<const std::byte>> pieces;
  std::vector<SharedBlock> keep;  ///< what the pieces lie in

  std::size_t size_bytes() const noexcept;  ///< of body and pieces
};

/// One request in the hands of its handler.
class HttpExchange {
 public:
  explicit HttpExchange(HttpHead head) : head_(std::move(head)) {}
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;
  virtual ~HttpExchange() = default;

  const HttpHead& head() const noexcept { return head_; }

  /// The whole body, or what is left of it; decompressed if it is gzip or deflate.
  /// Throws    Refusal 413 if it is longer than `most_bytes`, 415 for another content encoding, 400 if it is malformed, 408.
  virtual Awaitable<std::string> read_text(std::size_t most_bytes) = 0;
  /// Exactly the next bytes of a body that says its length, straight from the connection.
  /// Throws    Refusal 400 if it has fewer, 408.
  virtual Awaitable<void> read_into(std::span<std::byte> to) = 0;
  /// The next bytes of such a body as a text; memory is taken as they arrive.
  /// Throws    Refusal 400 if it has fewer, 408; 429, 503 if there is no memory for them.
  virtual Awaitable<std::string> read_part(std::size_t size_bytes) = 0;
  /// Whether read_into and read_part can be used: a length is given, and nothing is compressed or chunked.
  bool is_plain() const noexcept;
  /// To be called before memory is taken for what is still to come: it counts against the client until the body is there, or
  /// the request is over.
  /// Throws    Refusal 429 if requests of this client that are still arriving take too much memory, 503 if those of all do.
  virtual void expect(std::uint64_t size_bytes) = 0;

  /// Runs what takes long, while other connections are served.
  /// Throws    what `work` throws.
  virtual Awaitable<void> run_aside(std::function<void()> work) = 0;

  /// `call` is called once if the client goes away before the answer is sent.
  virtual void on_client_gone(std::function<void()> call) = 0;

  // For the access log and the metrics.
  std::string route;  ///< pattern
  std::string model, version, user;
  std::int64_t rows = 0, batch_rows = 0;
  std::uint64_t queue_ns = 0, compute_ns = 0;

  /// That the request came with; null where the server takes requests without.
  std::shared_ptr<const ApiKey> key;
  /// Whose limits the request counts against: the name of its key, or the network that it comes from.
  std::string counts_for;
  /// Whether the key may see a model. From others it is hidden: they get what they would get if there were none, also in lists.
  bool may_see(std::string_view model_name) const noexcept;
  /// Whether it may know of the server itself: its hosts, its memory, and what all clients together do.
  bool may_operate() const noexcept;

 private:
  HttpHead head_;
};

using HttpHandler = std::function<Awaitable<HttpResponse>(HttpExchange&)>;

struct HttpServerOptions {
  std::string address = "0.0.0.0";
  int port = 8000;               ///< 0: any
  std::string certificate, key;  ///< PEM files; with them TLS 1.3
  std::size_t most_connections = 4096;
  std::size_t most_connections_per_client = 1024;
  std::size_t most_body_bytes = std::size_t{64} << 20;
  std::size_t most_buffered_bytes = std::size_t{1} << 30;  ///< bodies in memory, of all connections
  std::size_t most_buffered_bytes_per_client = std::size_t{256} << 20;
  /// Memory of rows that are still arriving, of all connections.
  std::size_t most_expected_bytes = std::size_t{512} << 20;
  std::size_t most_expected_bytes_per_client = std::size_t{256} << 20;
  double idle_seconds = 60;    ///< between requests
  double header_seconds = 10;  ///< for a whole head
  double body_seconds = 30;    ///< for a whole body
};

/// What is told of every request that was answered.
struct HttpRecord {
  const HttpExchange* exchange = nullptr;  ///< null where the head was malformed
  std::string client;
  int status = 0;
  std::uint64_t received_bytes = 0, sent_bytes = 0;
  double seconds = 0;
};

/// HTTP/1.1, and TLS where there is a certificate. Every malformed head is answered with 400 (431 if it is too long) and the
/// end of the connection. Exceptions of handlers become answers: Refusal as it says, anything else 500 without its text.
///
/// Source    RFC 9110, 9112.
class HttpServer {
 public:
  HttpServer(net::io_context& io, Aside& aside, HttpServerOptions options, HttpHandler handler,
             std::function<void(const HttpRecord&)> on_answered);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  /// Begins to listen.
  /// Throws    IoError naming address and reason; ConfigError for a certificate that cannot be used.
  void start();
  int port() const noexcept;
  bool has_tls() const noexcept;
  std::size_t connections() const noexcept;
  std::size_t requests_in_progress() const noexcept;
  /// No new connections; each one ends behind the answer that it waits for.
  void stop_accepting();

 private:
  class State;
  std::shared_ptr<State> state_;
};

/// Listens for a moment.
/// Throws    IoError naming address and reason; ConfigError for an address that is none.
void check_listening(const HttpServerOptions& options);
/// Throws    ConfigError for a certificate or key that cannot be used, or is no longer valid.
void check_certificate(const HttpServerOptions& options);

/// The text as a JSON string, quotes included; what is no UTF-8 becomes U+FFFD.
std::string json_text(std::string_view text);
/// {"error": "text"}
HttpResponse error_response(int status, std::string_view text, int retry_after_s = 0);
/// "Not Found"
std::string_view reason_phrase(int status) noexcept;

}  // namespace phalanx
