// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>

#include "serve/asio.hpp"

namespace phalanx {

/// Runs what takes long, such as decoding a picture, in a thread beside that of the io_context, one thing after the other. To
/// be destroyed before the io_context, to which it hands what still waits.
class Aside {
 public:
  explicit Aside(net::io_context& io) : io_(io) {}

  /// Throws    what `work` throws.
  Awaitable<void> run(std::function<void()> work);

 private:
  net::io_context& io_;
  net::thread_pool thread_{1};
};

}  // namespace phalanx
