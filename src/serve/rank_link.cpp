// SPDX-License-Identifier: Apache-2.0
#include "serve/rank_link.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/write.hpp>
#include <cstring>

#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {

RankLink::RankLink(Socket socket, bool shares_memory)
    : socket_(std::move(socket)), shares_memory_(shares_memory), inbox_(kMostHelloBytes) {}

void RankLink::start(OnMessage on_message, OnClosed on_closed) {
  on_message_ = std::move(on_message);
  on_closed_ = std::move(on_closed);
  receive();
}

void RankLink::receive() {
  const auto room = net::buffer(inbox_.data() + filled_, inbox_.size() - filled_);
  socket_.async_read_some(room, [self = shared_from_this()](auto error, std::size_t got) {
    if (error) return self->fail();
    self->filled_ += got;
    self->take_messages();
    if (self->socket_.is_open()) self->receive();
  });
}

void RankLink::take_messages() {
  std::size_t at = 0;
  while (filled_ - at >= sizeof(WireHeader)) {
    WireHeader header;
    std::memcpy(&header, inbox_.data() + at, sizeof header);
    if (header.size_bytes > most_bytes_) {
      log_warning(
          "a message of {} bytes came at the ranks' address, at most {} are taken{}: its sender is "
          "refused",
          header.size_bytes, most_bytes_,
          most_bytes_ == kMostHelloBytes ? " of somebody who has not said who he is" : "");
      return fail();
    }
    const std::size_t whole = sizeof header + header.size_bytes;
    if (filled_ - at < whole) {
      if (whole > inbox_.size()) inbox_.resize(whole);  // before it is moved to the front
      break;
    }
    on_message_(header.kind, inbox_.data() + at + sizeof header, header.size_bytes);
    if (!socket_.is_open()) return;
    at += whole;
  }
  std::memmove(inbox_.data(), inbox_.data() + at, filled_ - at);
  filled_ -= at;
}

void RankLink::send(WireKind kind, std::vector<std::byte> head,
                    std::vector<net::const_buffer> pieces, std::shared_ptr<const void> keep) {
  if (!socket_.is_open()) return;
  WireHeader header{kind, 0, head.size()};
  for (const net::const_buffer& piece : pieces) header.size_bytes += piece.size();
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  head.insert(head.begin(), bytes, bytes + sizeof header);
  outbox_.push_back({std::move(head), std::move(pieces), std::move(keep)});
  if (outbox_.size() == 1) send_next();
}

void RankLink::send_next() {
  Message& message = outbox_.front();
  std::vector<net::const_buffer> all{net::buffer(message.head)};
  all.insert(all.end(), message.pieces.begin(), message.pieces.end());
  net::async_write(socket_, all, [self = shared_from_this()](auto error, std::size_t) {
    if (error) return self->fail();
    if (self->outbox_.empty()) return;
    self->outbox_.pop_front();
    if (!self->outbox_.empty()) self->send_next();
  });
}

void RankLink::send_text(WireKind kind, const std::string& text) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  send(kind, {bytes, bytes + text.size()});
}

void RankLink::send_welcome(const WireWelcome& welcome, int descriptor) {
  if (!shares_memory_) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&welcome);
    return send(WireKind::kWelcome, {bytes, bytes + sizeof welcome});
  }
  // The descriptor travels with the struct, which the rank reads apart from the header.
  WireHeader header{WireKind::kWelcome, 0, sizeof welcome};
  WireWelcome body = welcome;
  const auto send_now = [&](void* data, std::size_t size, int file) {
    iovec piece{data, size};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (file >= 0) {
      message.msg_control = space.data();
      message.msg_controllen = space.size();
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(c), &file, sizeof file);
    }
    return ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
  };
  if (!send_now(&header, sizeof header, -1) || !send_now(&body, sizeof body, descriptor)) fail();
}

void RankLink::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  outbox_.clear();
  on_closed_ = nullptr;
}

void RankLink::fail() {
  const OnClosed call = std::move(on_closed_);
  close();
  if (call) call();
}

}  // namespace phalanx
