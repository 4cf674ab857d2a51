// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/asio.hpp"
#include "serve/wire.hpp"

#include <boost/asio/generic/stream_protocol.hpp>

namespace phalanx {

/// The front end's end of the connection to one rank. In the thread of the io_context.
class RankLink : public std::enable_shared_from_this<RankLink> {
 public:
  using Socket = net::generic::stream_protocol::socket;
  /// Bytes of a message behind its header; valid during the call.
  using OnMessage =
      std::function<void(WireKind kind, const std::byte* bytes, std::size_t size_bytes)>;
  using OnClosed = std::function<void()>;

  /// Takes messages of at most kMostHelloBytes, until it is trusted; a longer one ends it.
  RankLink(Socket socket, bool shares_memory);
  RankLink(const RankLink&) = delete;
  RankLink& operator=(const RankLink&) = delete;

  bool shares_memory() const noexcept { return shares_memory_; }
  /// `on_closed` is called at most once, and nothing after it.
  void start(OnMessage on_message, OnClosed on_closed);
  void trust() noexcept { most_bytes_ = kMostWireBytes; }
  /// Sends `head`, then the pieces, which stay alive with `keep`.
  void send(WireKind kind, std::vector<std::byte> head, std::vector<net::const_buffer> pieces = {},
            std::shared_ptr<const void> keep = nullptr);
  void send_text(WireKind kind, const std::string& text);
  /// With a file descriptor, which only a socket of this host carries; before anything else is sent.
  void send_welcome(const WireWelcome& welcome, int descriptor);
  /// No more callbacks.
  void close();

 private:
  struct Message {
    std::vector<std::byte> head;
    std::vector<net::const_buffer> pieces;
    std::shared_ptr<const void> keep;
  };
  void receive();
  void take_messages();
  void send_next();
  void fail();

  Socket socket_;
  bool shares_memory_;
  OnMessage on_message_;
  OnClosed on_closed_;
  std::vector<std::byte> inbox_;
  std::size_t filled_ = 0;
  std::uint64_t most_bytes_ = kMostHelloBytes;
  std::deque<Message> outbox_;
};

}  // namespace phalanx
