// SPDX-License-Identifier: Apache-2.0
#include "serve/client_shares.hpp"

#include "serve/inference.hpp"

namespace phalanx {
namespace {

/// Written so that nothing overflows, whatever a client declares.
bool exceeds(std::uint64_t has, std::uint64_t wants, std::uint64_t own, std::uint64_t most) {
  return has != own && (has > most || wants > most - has);
}

}  // namespace

void ClientShares::take(const std::string& client, std::uint64_t bytes, std::uint64_t own_bytes) {
  if (bytes == 0) return;
  const auto found = by_client_.find(client);
  const std::uint64_t has = found == by_client_.end() ? 0 : found->second;
  if (exceeds(has, bytes, own_bytes, most_bytes_per_client_))
    throw Refusal(429,
                  "other requests of this client take too much memory: they are still arriving, or "
                  "their answers have not been taken yet",
                  1);
  if (exceeds(taken_bytes_, bytes, own_bytes, most_bytes_))
    throw Refusal(503, "the server has no memory for this request now", 1);
  by_client_[client] += bytes;
  taken_bytes_ += bytes;
}

void ClientShares::give_back(const std::string& client, std::uint64_t bytes) noexcept {
  const auto found = by_client_.find(client);
  if (bytes == 0 || found == by_client_.end()) return;
  taken_bytes_ -= bytes;
  found->second -= bytes;
  if (found->second == 0) by_client_.erase(found);
}

}  // namespace phalanx
