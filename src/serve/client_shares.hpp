// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace phalanx {

/// Memory that clients have taken by what they send: so much each, and so much all together. In the thread of the io_context.
class ClientShares {
 public:
  ClientShares(std::uint64_t most_bytes, std::uint64_t most_bytes_per_client) noexcept
      : most_bytes_(most_bytes), most_bytes_per_client_(most_bytes_per_client) {}

  /// Adds so many bytes to what `client` has, of which `own_bytes` are of the request that wants more. A request always gets
  /// what it wants if nobody else has any, or of its client no other request: what is larger than a share still gets through,
  /// one at a time.
  /// Throws    Refusal 429 if the client would have too many, 503 if all together would. Nothing is added then.
  void take(const std::string& client, std::uint64_t bytes, std::uint64_t own_bytes);
  void give_back(const std::string& client, std::uint64_t bytes) noexcept;

  std::uint64_t taken_bytes() const noexcept { return taken_bytes_; }
  std::size_t clients() const noexcept { return by_client_.size(); }  ///< that have any

 private:
  std::uint64_t most_bytes_, most_bytes_per_client_, taken_bytes_ = 0;
  std::map<std::string, std::uint64_t> by_client_;
};

}  // namespace phalanx
