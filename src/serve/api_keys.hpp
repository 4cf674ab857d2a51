// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

/// What a key must be allowed to do.
enum class Access : std::uint8_t {
  kPublic,  ///< no key
  kInfer,   ///< ask models, and about them
  kAdmin,   ///< load and unload
};

/// What a keys file knows of a key: never the key itself, but its SHA-256. Keys are 256 random bits, so that nobody finds one
/// from its digest by trying.
struct ApiKey {
  std::string name;
  std::string sha256;               ///< 64 hexadecimal digits
  Access access = Access::kInfer;   ///< kAdmin includes it
  std::vector<std::string> models;  ///< that it may see; empty: all
  std::int64_t expires = 0;         ///< seconds since the epoch; 0: never
  double requests_per_second = 0;   ///< 0: the server's limit

  bool may_see(std::string_view model) const noexcept;
  friend bool operator==(const ApiKey&, const ApiKey&) = default;
};

using ApiKeys = std::vector<std::shared_ptr<const ApiKey>>;

/// The largest keys file that is read.
inline constexpr std::size_t kMostKeysBytes = std::size_t{16} << 20;

/// Layout: docs/http_api.md, "Keys and limits".
/// Throws    InvalidInput naming `source`, the member, what was expected and what was found; names must be unique.
ApiKeys keys_from_json(const std::string& text, const std::string& source);
std::string to_json(const ApiKeys& keys);

/// Throws    IoError, InvalidInput.
ApiKeys read_keys(const std::string& path);

/// Makes a key as `key` says it, whose digest is filled in; adds it to the file, which is made if it is missing, and which
/// only its owner may read. The result is the key: it is nowhere else.
/// Throws    InvalidInput for a bad name, or one that is taken; IoError. The file is then as it was.
std::string create_key(const std::string& path, ApiKey key);
/// Throws    InvalidInput if there is no key of this name; IoError.
void revoke_key(const std::string& path, const std::string& name);

/// The key that is `secret`; null if there is none. Takes as long for every secret of the same length.
std::shared_ptr<const ApiKey> find_key(const ApiKeys& keys, std::string_view secret);

/// 2026-11-25T15:04:05Z and back.
std::string utc_text(std::int64_t seconds);
/// Throws    InvalidInput
std::int64_t seconds_from_utc(const std::string& text);

}  // namespace phalanx
