// SPDX-License-Identifier: Apache-2.0
#include "formats/sha256.hpp"

#include <fmt/format.h>

#include <openssl/evp.h>

#include <array>

#include "core/error.hpp"

namespace phalanx {

void Sha256::Free::operator()(evp_md_ctx_st* context) const noexcept { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
    throw Error("OpenSSL cannot start a SHA-256 digest");
}

void Sha256::update(std::span<const std::byte> bytes) {
  if (!context_ || EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
    throw Error("SHA-256: bytes given to a digest that has ended");
}

void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

std::string Sha256::hex() {
  std::array<unsigned char, 32> digest{};
  unsigned int length = 0;
  if (!context_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &length) != 1)
    throw Error("SHA-256: the digest has ended already");
  context_.reset();
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 digest;
  digest.update(bytes);
  return digest.hex();
}

std::string sha256_hex(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

}  // namespace phalanx
