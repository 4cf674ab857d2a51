// SPDX-License-Identifier: Apache-2.0
#include "serve/aside.hpp"

#include <boost/asio/post.hpp>
#include <exception>
#include <memory>
#include <utility>

namespace phalanx {

Awaitable<void> Aside::run(std::function<void()> work) {
  const auto failure = std::make_shared<std::exception_ptr>();
  const auto begin = [this, failure, work = std::move(work)](auto handler) {
    const auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    net::post(thread_, [this, shared, failure, work] {
      try {
        work();
      } catch (...) {
        *failure = std::current_exception();
      }
      net::post(io_, [shared] { std::move (*shared)(); });
    });
  };
  co_await net::async_initiate<const net::use_awaitable_t<>, void()>(begin, net::use_awaitable);
  if (*failure) std::rethrow_exception(*failure);
}

}  // namespace phalanx
