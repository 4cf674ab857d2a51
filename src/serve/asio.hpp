// SPDX-License-Identifier: Apache-2.0
// Boost.Asio as the server uses it: one io_context, run by one thread, coroutines on it.
#pragma once

// Asio 1.74 uses std::exchange without including its header.
#include <utility>
// Behind it.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace phalanx {

namespace net = boost::asio;

template <class T>
using Awaitable = net::awaitable<T>;

}  // namespace phalanx
