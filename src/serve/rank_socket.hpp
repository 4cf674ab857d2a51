// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <span>
#include <string>

#include "serve/wire.hpp"

namespace phalanx {

/// A rank's end of the connection to its front end; blocks. One thread receives, any may send.
class RankSocket {
 public:
  /// Takes a connected socket.
  explicit RankSocket(int descriptor) noexcept : descriptor_(descriptor) {}
  RankSocket(const RankSocket&) = delete;
  RankSocket& operator=(const RankSocket&) = delete;
  RankSocket(RankSocket&& other) noexcept;
  RankSocket& operator=(RankSocket&&) = delete;
  ~RankSocket();

  /// False if the front end is gone.
  bool receive_header(WireHeader& header);
  /// Throws    CommError if the front end goes away in the middle of a message.
  void receive(void* to, std::size_t size_bytes);
  std::string receive_text(const WireHeader& header);
  /// `descriptor`: gets a file that came with the message, if not null.
  template <class T>
  T receive_struct(const WireHeader& header, int* descriptor = nullptr) {
    T value;
    check_size(header, sizeof value);
    if (descriptor != nullptr)
      receive_with_file(&value, sizeof value, *descriptor);
    else
      receive(&value, sizeof value);
    return value;
  }

  /// These do nothing if the front end is gone; the receiving thread sees that.
  void send_text(WireKind kind, const std::string& text);
  void send_answer(const WireRan& ran, const std::string& error,
                   std::span<const std::byte> answers);

 private:
  static void check_size(const WireHeader& header, std::size_t expected);
  bool receive_some(void* to, std::size_t size_bytes);
  void receive_with_file(void* to, std::size_t size_bytes, int& descriptor);
  void send(std::span<const std::span<const std::byte>> pieces);

  int descriptor_;
  std::mutex sending_;
};

struct FrontAddress;
/// By the abstract socket where `host` is the front end's, else by TCP.
/// Throws    IoError naming address and reason.
RankSocket connect_to_front(const FrontAddress& front, const std::string& host);

}  // namespace phalanx
