// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace phalanx {

/// SHA-256 of bytes that arrive in pieces; where the pieces end makes no difference. Move-only.
class Sha256 {
 public:
  /// Throws    Error if OpenSSL cannot start a digest.
  Sha256();

  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  /// 64 lower-case hexadecimal digits. Ends the digest: later calls of either function throw Error.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const noexcept;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// Digest of one piece.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);

}  // namespace phalanx
