// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "serve/client_shares.hpp"
#include "serve/http.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>

namespace phalanx {

using Tcp = net::ip::tcp;

/// One connection of a client, from its first byte to its last.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;
  /// `owner` is kept while the connection lives.
  virtual void start(std::shared_ptr<void> owner) = 0;
  /// Whether a request is being received or answered.
  virtual bool is_busy() const noexcept = 0;
  virtual const std::string& client() const noexcept = 0;
  /// Ends what takes too long.
  virtual void check_deadline(ServeClock::time_point now) = 0;
  virtual void close() = 0;
};

/// What connections need of their server.
class HttpConnectionOwner {
 public:
  virtual const HttpServerOptions& options() const noexcept = 0;
  virtual const HttpHandler& handler() const noexcept = 0;
  virtual bool is_stopping() const noexcept = 0;
  virtual Aside& aside() noexcept = 0;
  /// Memory of bodies that are there, or begin to be, as texts.
  virtual ClientShares& buffered() noexcept = 0;
  /// Memory of rows that are still arriving.
  virtual ClientShares& expected() noexcept = 0;
  virtual void answered(const HttpRecord& record) = 0;
  virtual void ended(HttpConnection* connection) = 0;

 protected:
  ~HttpConnectionOwner() = default;
};

/// `tls` may be null.
std::shared_ptr<HttpConnection> make_http_connection(Tcp::socket socket, net::ssl::context* tls,
                                                     std::string client,
                                                     HttpConnectionOwner& owner);

}  // namespace phalanx
