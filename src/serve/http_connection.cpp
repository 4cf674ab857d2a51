// SPDX-License-Identifier: Apache-2.0
#include "serve/http_connection.hpp"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <optional>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "serve/http_head.hpp"

namespace phalanx {
namespace {

using boost::system::error_code;

std::chrono::nanoseconds seconds(double s) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(s));
}

/// The client went away, or took too long with what nobody can be told about.
struct ConnectionEnded {};

Tcp::socket& socket_of(Tcp::socket& stream) { return stream; }
Tcp::socket& socket_of(net::ssl::stream<Tcp::socket>& stream) { return stream.next_layer(); }

/// A stream with what was read too far, and a deadline.
template <class Stream>
class Wire {
 public:
  template <class... Args>
  explicit Wire(Args&&... args) : stream(std::forward<Args>(args)...) {}

  Stream stream;
  std::string ahead;  // read, but not yet taken
  ServeClock::time_point deadline = ServeClock::time_point::max();
  bool is_late = false;
  std::uint64_t received_bytes = 0;

  void allow(double for_seconds) { deadline = ServeClock::now() + seconds(for_seconds); }

  [[noreturn]] void fail() const {
    if (is_late) throw Refusal(408, "the request took too long");
    throw ConnectionEnded();
  }

  /// At least one more byte behind `ahead`.
  Awaitable<void> read_more() {
    constexpr std::size_t kPiece = std::size_t{16} << 10;
    const std::size_t had = ahead.size();
    ahead.resize(had + kPiece);
    error_code error;
    const std::size_t got = co_await stream.async_read_some(
        net::buffer(ahead.data() + had, kPiece), net::redirect_error(net::use_awaitable, error));
    ahead.resize(had + (error ? 0 : got));
    received_bytes += got;
    if (error) fail();
  }

  Awaitable<void> read_exactly(std::span<std::byte> to) {
    const std::size_t known = std::min(to.size(), ahead.size());
    std::memcpy(to.data(), ahead.data(), known);
    ahead.erase(0, known);
    if (known == to.size()) co_return;
    error_code error;
    const std::size_t got =
        co_await net::async_read(stream, net::buffer(to.data() + known, to.size() - known),
                                 net::redirect_error(net::use_awaitable, error));
    received_bytes += got;
    if (error) fail();
  }
};

template <class Stream>
class Exchange final : public HttpExchange {
 public:
  Exchange(HttpHead head, Wire<Stream>& wire, HttpConnectionOwner& owner)
      : HttpExchange(std::move(head)), wire_(wire), owner_(owner) {
    left_ = this->head().content_length.value_or(0);
    if (left_ == 0 && !this->head().is_chunked) body_is_read();
  }
  ~Exchange() override { let_go(); }

  bool is_read() const noexcept { return is_read_; }

  Awaitable<std::string> read_text(std::size_t most_bytes) override {
    most_bytes = std::min(most_bytes, owner_.options().most_body_bytes);
    const std::string coding = lower_case(head().header("content-encoding"));
    const bool is_compressed = !coding.empty() && coding != "identity";
    if (is_compressed && coding != "gzip" && coding != "deflate")
      throw Refusal(415, "content encodings are gzip, deflate and identity");
    if (!head().is_chunked) check_size(left_, most_bytes);
    co_await welcome_body();
    std::string body;
    if (head().is_chunked) {
      body = co_await read_chunks(most_bytes);
    } else {
      co_await append(body, left_);
      left_ = 0;
    }
    body_is_read();
    if (!is_compressed) co_return body;
    constexpr std::size_t kShort = std::size_t{256} << 10;  // takes a fraction of a millisecond
    std::optional<std::string> inflated = inflate_short_body(body, std::min(kShort, most_bytes));
    // What it refers to outlives it: this coroutine goes on only behind it.
    const auto inflate = [&] { inflated = inflate_body(body, most_bytes); };
    if (!inflated) co_await run_aside(inflate);
    hold(inflated->size());
    co_return std::move(*inflated);
  }

  Awaitable<void> run_aside(std::function<void()> work) override {
    return owner_.aside().run(std::move(work));
  }

  Awaitable<void> read_into(std::span<std::byte> to) override {
    check_left(to.size());
    co_await welcome_body();
    co_await wire_.read_exactly(to);
    left_ -= to.size();
    if (left_ == 0) body_is_read();
  }

  Awaitable<std::string> read_part(std::size_t size_bytes) override {
    check_left(size_bytes);
    co_await welcome_body();
    std::string part;
    co_await append(part, size_bytes);
    left_ -= size_bytes;
    if (left_ == 0) body_is_read();
    co_return part;
  }

  void expect(std::uint64_t size_bytes) override {
    if (left_ <= wire_.ahead.size()) return;  // all of it is there
    owner_.expected().take(counts_for, size_bytes, expected_bytes_);
    expected_bytes_ += size_bytes;
  }
  /// A long answer counts as a body does, until the client has taken it.
  void hold_answer(std::size_t size_bytes) {
    constexpr std::size_t kLong = std::size_t{64} << 10;
    if (size_bytes > kLong) hold(size_bytes);
  }
  /// What the handler had is gone.
  void let_go() noexcept {
    owner_.buffered().give_back(counts_for, std::exchange(held_bytes_, 0));
    owner_.expected().give_back(counts_for, std::exchange(expected_bytes_, 0));
  }

  void on_client_gone(std::function<void()> call) override {
    client_gone_ = std::make_shared<std::function<void()>>(std::move(call));
    watch(client_gone_);
  }
  /// To be called now and then.
  void look_for_client() {
    if (!client_gone_ || !*client_gone_) return;
    tcp_info info{};
    socklen_t size = sizeof info;
    const int socket = socket_of(wire_.stream).native_handle();
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
    if (info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_CLOSE)
      std::exchange(*client_gone_, nullptr)();
  }
  void stop_watching() {
    if (!client_gone_) return;
    client_gone_.reset();
    error_code ignored;
    socket_of(wire_.stream).cancel(ignored);
  }

 private:
  /// From here on the client waits for us.
  void body_is_read() {
    is_read_ = true;
    wire_.deadline = ServeClock::time_point::max();
    owner_.expected().give_back(counts_for, std::exchange(expected_bytes_, 0));
  }

  void check_left(std::size_t wanted) const {
    if (wanted > left_)
      throw Refusal(400, fmt::format("the body ends {} bytes too early", wanted - left_));
  }

  void hold(std::uint64_t bytes) {
    owner_.buffered().take(counts_for, bytes, held_bytes_);
    held_bytes_ += bytes;
  }

  /// Memory is taken as bytes arrive, whatever length was promised.
  Awaitable<void> append(std::string& body, std::uint64_t size) {
    constexpr std::uint64_t kLeast = std::uint64_t{4} << 10, kMost = std::uint64_t{256} << 10;
    while (size > 0) {
      const std::uint64_t piece =
          std::min(size, std::clamp<std::uint64_t>(body.size(), kLeast, kMost));
      hold(piece);
      const std::size_t had = body.size();
      body.resize(had + piece);
      co_await wire_.read_exactly(std::as_writable_bytes(std::span(body)).subspan(had));
      size -= piece;
    }
  }

  static void check_size(std::uint64_t size, std::size_t most_bytes) {
    if (size > most_bytes)
      throw Refusal(413,
                    fmt::format("the body has {} bytes, at most {} are taken", size, most_bytes));
  }

  /// Clients that ask whether they should send a body wait for this.
  Awaitable<void> welcome_body() {
    if (is_welcome_ || is_read_) co_return;
    is_welcome_ = true;
    if (head().header("expect") != "100-continue") co_return;
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    error_code error;
    co_await net::async_write(wire_.stream, net::buffer(kContinue),
                              net::redirect_error(net::use_awaitable, error));
    if (error) wire_.fail();
  }

  /// "SIZE[;extension]" of a chunk, or a trailer line, without its end.
  Awaitable<std::string> read_line() {
    constexpr std::size_t kLongest = 1024;
    std::size_t end = 0;
    while ((end = wire_.ahead.find("\r\n")) == std::string::npos) {
      if (wire_.ahead.size() > kLongest) throw Refusal(400, "a line of a chunked body is too long");
      co_await wire_.read_more();
    }
    if (end > kLongest) throw Refusal(400, "a line of a chunked body is too long");
    std::string line = wire_.ahead.substr(0, end);
    wire_.ahead.erase(0, end + 2);
    co_return line;
  }

  Awaitable<std::string> read_chunks(std::size_t most_bytes) {
    constexpr int kMostChunks = 65536, kMostTrailers = 64;
    std::string body;
    for (int chunk = 0;; ++chunk) {
      if (chunk > kMostChunks)
        throw Refusal(413, fmt::format("the body has more than {} chunks", kMostChunks));
      const std::string line = co_await read_line();
      const std::string digits(trim(std::string_view(line).substr(0, line.find(';'))));
      if (digits.empty() || digits.size() > 15 ||
          digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        throw Refusal(400, "the size of a chunk is malformed");
      const std::uint64_t size = std::stoull(digits, nullptr, 16);
      if (size == 0) break;
      check_size(body.size() + size, most_bytes);
      co_await append(body, size);
      const std::string behind = co_await read_line();
      if (!behind.empty()) throw Refusal(400, "a chunk is longer than it says");
    }
    for (int line = 0; line < kMostTrailers; ++line) {
      const std::string trailer = co_await read_line();
      if (trailer.empty()) co_return body;
    }
    throw Refusal(400, "too many lines behind a chunked body");
  }

  /// The socket becomes readable when the client closes it. What it sends already (a next request, or the end of TLS) is left
  /// where it is; then look_for_client() notices.
  void watch(const std::shared_ptr<std::function<void()>>& call) {
    Tcp::socket& socket = socket_of(wire_.stream);
    socket.async_wait(Tcp::socket::wait_read, [weak = std::weak_ptr<std::function<void()>>(call),
                                               &socket](error_code error) {
      const auto found = weak.lock();
      if (error || !found) return;
      char byte = 0;
      const ssize_t got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      const bool is_gone = got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
      if (is_gone && *found) std::exchange(*found, nullptr)();
    });
  }

  Wire<Stream>& wire_;
  HttpConnectionOwner& owner_;
  std::uint64_t left_ = 0, held_bytes_ = 0, expected_bytes_ = 0;
  bool is_read_ = false, is_welcome_ = false;
  std::shared_ptr<std::function<void()>> client_gone_;
};

template <class Stream>
class Connection final : public HttpConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  template <class... Args>
  Connection(std::string client, HttpConnectionOwner& owner, Args&&... args)
      : client_(std::move(client)), owner_(owner), wire_(std::forward<Args>(args)...) {}

  void start(std::shared_ptr<void> owner) override {
    net::co_spawn(
        wire_.stream.get_executor(),
        [self = this->shared_from_this(), owner]() -> Awaitable<void> {
          co_await self->serve();
          self->close();
          self->owner_.ended(self.get());
        },
        net::detached);
  }
  bool is_busy() const noexcept override { return is_busy_; }
  const std::string& client() const noexcept override { return client_; }

  void check_deadline(ServeClock::time_point now) override {
    if (const auto exchange = exchange_.lock()) exchange->look_for_client();
    if (now < wire_.deadline) return;
    if (wire_.is_late) return close();  // the answer that says so did not get through either
    wire_.is_late = true;
    wire_.allow(2);
    error_code ignored;
    socket_of(wire_.stream).cancel(ignored);
  }
  void close() override {
    error_code ignored;
    socket_of(wire_.stream).shutdown(Tcp::socket::shutdown_both, ignored);
    socket_of(wire_.stream).close(ignored);
  }

 private:
  Awaitable<void> serve() {
    try {
      co_await handshake();
      while (co_await serve_one()) {
      }
      co_await linger();
    } catch (const ConnectionEnded&) {
    } catch (const Refusal&) {  // late before anything was asked
    } catch (const std::exception& e) {
      log_warning("a connection ended: {}", e.what());
    }
  }

  /// Closing a socket while the client still sends tears the answer from it, which says why nobody reads on. So for a short
  /// time what it sends is thrown away.
  Awaitable<void> linger() {
    constexpr double kSeconds = 1;
    constexpr std::size_t kMostBytes = std::size_t{16} << 20;
    Tcp::socket& socket = socket_of(wire_.stream);
    error_code error;
    socket.shutdown(Tcp::socket::shutdown_send, error);
    if (wire_.is_late || !std::exchange(is_unread_, false)) co_return;
    wire_.allow(kSeconds);
    wire_.ahead.assign(std::size_t{16} << 10, '\0');
    for (std::size_t thrown = 0; !error && thrown < kMostBytes;)
      thrown += co_await socket.async_read_some(net::buffer(wire_.ahead),
                                                net::redirect_error(net::use_awaitable, error));
  }

  Awaitable<void> handshake() {
    if constexpr (!std::is_same_v<Stream, Tcp::socket>) {
      wire_.allow(owner_.options().header_seconds);
      error_code error;
      co_await wire_.stream.async_handshake(net::ssl::stream_base::server,
                                            net::redirect_error(net::use_awaitable, error));
      if (error) throw ConnectionEnded();
    }
    co_return;
  }

  /// True if another request may follow.
  Awaitable<bool> serve_one() {
    wire_.received_bytes = wire_.ahead.size();
    wire_.allow(owner_.options().idle_seconds);
    if (wire_.ahead.empty()) co_await wire_.read_more();
    is_busy_ = true;
    const auto begin = ServeClock::now();
    wire_.allow(owner_.options().header_seconds);
    std::shared_ptr<Exchange<Stream>> exchange;
    HttpResponse response;
    bool keep_alive = false;
    try {
      HttpHead head = co_await read_head();
      head.client = client_;
      if (head.request_id.empty()) head.request_id = fmt::format("{:016x}", next_id());
      wire_.allow(owner_.options().body_seconds);
      exchange = std::make_shared<Exchange<Stream>>(std::move(head), wire_, owner_);
      exchange_ = exchange;
      response = co_await answer(*exchange);
      exchange->hold_answer(response.size_bytes());
      keep_alive = exchange->head().keep_alive && exchange->is_read() && !owner_.is_stopping();
    } catch (const Refusal& e) {
      response = error_response(e.status(), e.what(), e.retry_after_s());
    }
    wire_.allow(owner_.options().body_seconds);  // to take the answer
    const bool is_head = exchange && exchange->head().method == "HEAD";
    std::string
        id;  // has a name since g++ 12 destroys temporaries of branches in an awaited call twice
    if (exchange) id = exchange->head().request_id;
    const std::uint64_t sent = co_await send(response, keep_alive, is_head, id);
    owner_.answered({.exchange = exchange.get(),
                     .client = client_,
                     .status = response.status,
                     .received_bytes = wire_.received_bytes,
                     .sent_bytes = sent,
                     .seconds = std::chrono::duration<double>(ServeClock::now() - begin).count()});
    is_busy_ = false;
    is_unread_ = !exchange || !exchange->is_read();
    co_return keep_alive && !wire_.is_late;
  }

  Awaitable<HttpHead> read_head() {
    std::size_t end = 0;
    while ((end = find_head_end(wire_.ahead)) == std::string::npos) co_await wire_.read_more();
    HttpHead head = parse_http_head(std::string_view(wire_.ahead).substr(0, end));
    wire_.ahead.erase(0, end);
    co_return head;
  }

  Awaitable<HttpResponse> answer(Exchange<Stream>& exchange) {
    HttpResponse response;
    try {
      response = co_await owner_.handler()(exchange);
    } catch (const Refusal& e) {
      response = error_response(e.status(), e.what(), e.retry_after_s());
    } catch (const ConnectionEnded&) {
      throw;
    } catch (const OutOfMemory& e) {
      log_warning("{} {}: {}", exchange.head().method, json_text(exchange.head().path), e.what());
      response = error_response(503, "the server has no memory for this request now", 1);
    } catch (const std::exception& e) {
      log_error("{} {}: {}", exchange.head().method, json_text(exchange.head().path), e.what());
      response = error_response(500, "internal error; the server's log has more");
    }
    exchange.stop_watching();
    exchange.let_go();
    co_return response;
  }

  Awaitable<std::uint64_t> send(const HttpResponse& response, bool keep_alive, bool is_head,
                                const std::string& request_id) {
    std::string head =
        fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason_phrase(response.status));
    // A length beside 304 would be that of the body which is not sent again (RFC 9110, 8.6).
    if (response.status != 304)
      head += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\n", response.content_type,
                          response.size_bytes());
    for (const auto& [name, value] : response.headers)
      head += fmt::format("{}: {}\r\n", name, value);
    if (!request_id.empty()) head += fmt::format("X-Request-Id: {}\r\n", request_id);
    head += "X-Content-Type-Options: nosniff\r\n";
    if (!keep_alive) head += "Connection: close\r\n";
    head += "\r\n";
    std::vector<net::const_buffer> all{net::buffer(head)};
    if (!is_head) {
      all.push_back(net::buffer(response.body));
      for (const auto piece : response.pieces) all.emplace_back(piece.data(), piece.size());
    }
    error_code error;
    const std::size_t sent = co_await net::async_write(
        wire_.stream, all, net::redirect_error(net::use_awaitable, error));
    if (error) throw ConnectionEnded();
    co_return sent;
  }

  std::uint64_t next_id() {
    const auto now = static_cast<std::uint64_t>(ServeClock::now().time_since_epoch().count());
    return now * 0x9e3779b97f4a7c15ull ^ reinterpret_cast<std::uintptr_t>(this);
  }

  std::string client_;
  HttpConnectionOwner& owner_;
  Wire<Stream> wire_;
  bool is_busy_ = false;
  std::weak_ptr<Exchange<Stream>> exchange_;  // that is being received or answered
  bool is_unread_ = false;                    // the client may still be sending what nobody reads
};

}  // namespace

std::shared_ptr<HttpConnection> make_http_connection(Tcp::socket socket, net::ssl::context* tls,
                                                     std::string client,
                                                     HttpConnectionOwner& owner) {
  if (tls == nullptr)
    return std::make_shared<Connection<Tcp::socket>>(std::move(client), owner, std::move(socket));
  return std::make_shared<Connection<net::ssl::stream<Tcp::socket>>>(std::move(client), owner,
                                                                     std::move(socket), *tls);
}

}  // namespace phalanx
