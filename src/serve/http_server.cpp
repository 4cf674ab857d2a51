// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <map>

#include "core/error.hpp"
#include "core/log.hpp"
#include "serve/http_connection.hpp"

namespace phalanx {
namespace {

std::unique_ptr<net::ssl::context> make_tls(const HttpServerOptions& options) {
  auto tls = std::make_unique<net::ssl::context>(net::ssl::context::tls_server);
  ::SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_3_VERSION);
  boost::system::error_code error;
  tls->use_certificate_chain_file(options.certificate, error);
  if (error)
    throw ConfigError(
        fmt::format("certificate: {} cannot be used: {}", options.certificate, error.message()));
  tls->use_private_key_file(options.key, net::ssl::context::pem, error);
  if (error)
    throw ConfigError(fmt::format("key: {} cannot be used: {}", options.key, error.message()));
  return tls;
}

/// A connection is a descriptor; the usual limit is lower than the number of connections that are allowed.
void allow_many_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void listen(Tcp::acceptor& acceptor, const HttpServerOptions& options) {
  boost::system::error_code error;
  const auto address = net::ip::make_address(options.address, error);
  if (error) throw ConfigError(fmt::format("address: '{}' is no IP address", options.address));
  const Tcp::endpoint endpoint(address, static_cast<std::uint16_t>(options.port));
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
  if (error)
    throw IoError(
        fmt::format("cannot listen on {}:{}: {}", options.address, options.port, error.message()));
}

}  // namespace

void check_listening(const HttpServerOptions& options) {
  net::io_context io;
  Tcp::acceptor acceptor(io);
  listen(acceptor, options);
}

void check_certificate(const HttpServerOptions& options) {
  const auto tls = make_tls(options);
  const X509* certificate = ::SSL_CTX_get0_certificate(tls->native_handle());
  if (::X509_cmp_current_time(::X509_get0_notAfter(certificate)) < 0)
    throw ConfigError(fmt::format("certificate: {} has expired", options.certificate));
  if (::X509_cmp_current_time(::X509_get0_notBefore(certificate)) > 0)
    throw ConfigError(fmt::format("certificate: {} is not valid yet", options.certificate));
}

/// Listens, and knows all connections.
class HttpServer::State : public HttpConnectionOwner,
                          public std::enable_shared_from_this<HttpServer::State> {
 public:
  State(net::io_context& io, Aside& aside, HttpServerOptions options, HttpHandler handler,
        std::function<void(const HttpRecord&)> on_answered)
      : io_(io),
        aside_(aside),
        options_(std::move(options)),
        handler_(std::move(handler)),
        on_answered_(std::move(on_answered)),
        buffered_(options_.most_buffered_bytes, options_.most_buffered_bytes_per_client),
        expected_(options_.most_expected_bytes, options_.most_expected_bytes_per_client),
        acceptor_(io),
        clock_(io),
        pause_(io) {}

  void start() {
    if (!options_.certificate.empty()) tls_ = make_tls(options_);
    allow_many_descriptors();
    listen(acceptor_, options_);
    port_ = acceptor_.local_endpoint().port();
    accept();
    tick();
  }

  int port() const noexcept { return port_; }
  bool has_tls() const noexcept { return tls_ != nullptr; }
  std::size_t connections() const noexcept { return connections_.size(); }
  std::size_t in_progress() const noexcept {
    std::size_t count = 0;
    for (const auto& [connection, held] : connections_) count += connection->is_busy() ? 1 : 0;
    return count;
  }

  void stop_accepting() {
    is_stopping_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& [connection, held] : connections_)
      if (!connection->is_busy()) connection->close();
  }
  void end() {
    stop_accepting();
    clock_.cancel();
    const auto all = connections_;
    for (const auto& [connection, held] : all) connection->close();
  }

  // HttpConnectionOwner
  const HttpServerOptions& options() const noexcept override { return options_; }
  const HttpHandler& handler() const noexcept override { return handler_; }
  bool is_stopping() const noexcept override { return is_stopping_; }
  Aside& aside() noexcept override { return aside_; }
  ClientShares& buffered() noexcept override { return buffered_; }
  ClientShares& expected() noexcept override { return expected_; }
  void answered(const HttpRecord& record) override { on_answered_(record); }
  void ended(HttpConnection* connection) override {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) return;
    if (const auto of_client = clients_.find(connection->client());
        of_client != clients_.end() && --of_client->second == 0)
      clients_.erase(of_client);
    connections_.erase(found);
  }

 private:
  void accept() {
    acceptor_.async_accept([self = shared_from_this()](auto error, Tcp::socket socket) {
      if (error == net::error::operation_aborted || self->is_stopping_) return;
      if (!error) {
        self->add(std::move(socket));
        return self->accept();
      }
      // Out of descriptors: the connection stays in the queue, and asking again at once would turn in circles.
      self->pause_.expires_after(std::chrono::milliseconds(50));
      self->pause_.async_wait([self](auto cancelled) {
        if (!cancelled && !self->is_stopping_) self->accept();
      });
    });
  }

  void add(Tcp::socket socket) {
    boost::system::error_code error;
    const auto remote = socket.remote_endpoint(error);
    if (error) return;
    const std::string client = remote.address().to_string();
    if (connections_.size() >= options_.most_connections ||
        clients_[client] >= options_.most_connections_per_client) {
      // In one piece that any socket buffer takes; the connection ends with it.
      static constexpr std::string_view kBusy =
          "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: "
          "close\r\n\r\n";
      if (!tls_)
        ::send(socket.native_handle(), kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (clients_[client] == 0) clients_.erase(client);
      return;
    }
    socket.set_option(Tcp::no_delay(true), error);
    const auto connection = make_http_connection(std::move(socket), tls_.get(), client, *this);
    ++clients_[client];
    connections_.emplace(connection.get(), connection);
    connection->start(shared_from_this());
  }

  /// Deadlines are looked at here, for all connections: no timer for each.
  void tick() {
    clock_.expires_after(std::chrono::milliseconds(250));
    clock_.async_wait([self = shared_from_this()](auto error) {
      if (error) return;
      const auto now = ServeClock::now();
      for (const auto& [connection, held] : self->connections_) connection->check_deadline(now);
      self->tick();
    });
  }

  net::io_context& io_;
  Aside& aside_;
  HttpServerOptions options_;
  HttpHandler handler_;
  std::function<void(const HttpRecord&)> on_answered_;
  ClientShares buffered_, expected_;
  Tcp::acceptor acceptor_;
  net::steady_timer clock_, pause_;
  std::unique_ptr<net::ssl::context> tls_;
  std::map<HttpConnection*, std::shared_ptr<HttpConnection>> connections_;
  std::map<std::string, std::size_t> clients_;
  int port_ = 0;
  bool is_stopping_ = false;
};

HttpServer::HttpServer(net::io_context& io, Aside& aside, HttpServerOptions options,
                       HttpHandler handler, std::function<void(const HttpRecord&)> on_answered)
    : state_(std::make_shared<State>(io, aside, std::move(options), std::move(handler),
                                     std::move(on_answered))) {}
HttpServer::~HttpServer() { state_->end(); }
void HttpServer::start() { state_->start(); }
int HttpServer::port() const noexcept { return state_->port(); }
bool HttpServer::has_tls() const noexcept { return state_->has_tls(); }
std::size_t HttpServer::connections() const noexcept { return state_->connections(); }
std::size_t HttpServer::requests_in_progress() const noexcept { return state_->in_progress(); }
void HttpServer::stop_accepting() { state_->stop_accepting(); }

}  // namespace phalanx
