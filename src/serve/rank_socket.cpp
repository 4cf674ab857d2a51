// SPDX-License-Identifier: Apache-2.0
#include "serve/rank_socket.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "serve/rank_server.hpp"

namespace phalanx {

RankSocket::RankSocket(RankSocket&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

RankSocket::~RankSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void RankSocket::check_size(const WireHeader& header, std::size_t expected) {
  require<CommError>(header.size_bytes == expected, "a message of the front end has another size");
}

/// False at the end of the stream before the first byte.
bool RankSocket::receive_some(void* to, std::size_t size_bytes) {
  std::size_t done = 0;
  while (done < size_bytes) {
    const ssize_t got =
        ::recv(descriptor_, static_cast<std::byte*>(to) + done, size_bytes - done, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 && done == 0) return false;
    if (got <= 0) throw CommError("the front end went away in the middle of a message");
    done += static_cast<std::size_t>(got);
  }
  return true;
}

bool RankSocket::receive_header(WireHeader& header) {
  if (!receive_some(&header, sizeof header)) return false;
  require<CommError>(header.size_bytes <= kMostWireBytes, "a message of the front end is too long");
  return true;
}

void RankSocket::receive(void* to, std::size_t size_bytes) {
  if (size_bytes > 0 && !receive_some(to, size_bytes))
    throw CommError("the front end went away in the middle of a message");
}

std::string RankSocket::receive_text(const WireHeader& header) {
  std::string text(header.size_bytes, '\0');
  receive(text.data(), text.size());
  return text;
}

void RankSocket::receive_with_file(void* to, std::size_t size_bytes, int& descriptor) {
  iovec piece{to, size_bytes};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = space.data();
  message.msg_controllen = space.size();
  ssize_t got = -1;
  do got = ::recvmsg(descriptor_, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got <= 0) throw CommError("the front end went away in the middle of a message");
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
      std::memcpy(&descriptor, CMSG_DATA(c), sizeof descriptor);
  const auto done = static_cast<std::size_t>(got);
  receive(static_cast<std::byte*>(to) + done, size_bytes - done);
}

void RankSocket::send(std::span<const std::span<const std::byte>> pieces) {
  std::array<iovec, 3> rest{};
  std::size_t count = 0;
  for (const std::span<const std::byte> piece : pieces)
    if (!piece.empty()) rest[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};
  const std::lock_guard lock(sending_);
  std::size_t first = 0;
  while (first < count) {
    msghdr message{};
    message.msg_iov = rest.data() + first;
    message.msg_iovlen = count - first;
    const ssize_t sent = ::sendmsg(descriptor_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return;
    auto done = static_cast<std::size_t>(sent);
    while (first < count && done >= rest[first].iov_len) done -= rest[first++].iov_len;
    if (first < count)
      rest[first] = {static_cast<std::byte*>(rest[first].iov_base) + done,
                     rest[first].iov_len - done};
  }
}

void RankSocket::send_text(WireKind kind, const std::string& text) {
  const WireHeader header{kind, 0, text.size()};
  const std::array<std::span<const std::byte>, 2> pieces{std::as_bytes(std::span(&header, 1)),
                                                         std::as_bytes(std::span(text))};
  send(pieces);
}

void RankSocket::send_answer(const WireRan& ran, const std::string& error,
                             std::span<const std::byte> answers) {
  struct {
    WireHeader header;
    WireRan ran;
  } const head{{WireKind::kRan, 0, sizeof ran + error.size() + answers.size()}, ran};
  const std::array<std::span<const std::byte>, 3> pieces{std::as_bytes(std::span(&head, 1)),
                                                         std::as_bytes(std::span(error)), answers};
  send(pieces);
}

namespace {

int connect_unix(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  require<InvalidInput>(name.size() + 1 < sizeof address.sun_path,
                        "the name of a socket is too long");
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading NUL: no file
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (s >= 0 && ::connect(s, reinterpret_cast<const sockaddr*>(&address), size) == 0) return s;
  const int error = errno;
  if (s >= 0) ::close(s);
  throw IoError(fmt::format("cannot reach the front end on this host: {}", std::strerror(error)));
}

int connect_tcp(const std::string& host, int port) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  const std::string service = fmt::format("{}", port);
  if (const int error = ::getaddrinfo(host.c_str(), service.c_str(), &wanted, &found); error != 0)
    throw IoError(
        fmt::format("cannot find the front end's host '{}': {}", host, ::gai_strerror(error)));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> all(found, ::freeaddrinfo);
  int last = 0;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const int s = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (s >= 0 && ::connect(s, a->ai_addr, a->ai_addrlen) == 0) return s;
    last = errno;
    if (s >= 0) ::close(s);
  }
  throw IoError(
      fmt::format("cannot reach the front end at {}:{}: {}", host, port, std::strerror(last)));
}

}  // namespace

RankSocket connect_to_front(const FrontAddress& front, const std::string& host) {
  return RankSocket(host == front.host ? connect_unix(front.unix_name)
                                       : connect_tcp(front.host, front.port));
}

}  // namespace phalanx
