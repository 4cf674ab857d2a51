// SPDX-License-Identifier: Apache-2.0
#include "serve/api_keys.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "formats/atomic_file.hpp"
#include "formats/sha256.hpp"
#include "serve/json_file.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {

namespace fs = std::filesystem;

namespace {

constexpr const char* kPrefix =
    "phx_";  // lets scanners of sources recognise a key that was checked in

const std::vector<std::string> kMembers = {"name",    "sha256", "access",
                                           "expires", "models", "requests_per_second"};

bool is_digest(const std::string& text) {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

ApiKey key_from(const Json& json, const std::string& source, std::size_t index) {
  const std::string path = fmt::format("/keys/{}", index);
  const Members members(json, source, path);
  for (const auto& item : json.items())
    if (std::ranges::find(kMembers, item.key()) == kMembers.end())
      throw InvalidInput(fmt::format("{}: {}: unknown member '{}'; the nearest is '{}'", source,
                                     path, item.key(), nearest(item.key(), kMembers)));
  ApiKey key;
  key.name = members.get<std::string>("name", "a text");
  if (!is_model_name(key.name))
    members.refuse("name", "1 to 128 letters, digits, '_', '.' and '-'", Json(key.name));
  key.sha256 = members.get<std::string>("sha256", "64 hexadecimal digits");
  if (!is_digest(key.sha256))
    members.refuse("sha256", "64 lower-case hexadecimal digits", Json(key.sha256));
  const auto access = members.get<std::string>("access", "\"infer\" or \"admin\"");
  if (access != "infer" && access != "admin")
    members.refuse("access", "\"infer\" or \"admin\"", Json(access));
  key.access = access == "admin" ? Access::kAdmin : Access::kInfer;
  if (json.contains("models")) {
    key.models = members.get<std::vector<std::string>>("models", "a list of names of models");
    if (key.models.empty() || !std::ranges::all_of(key.models, is_model_name))
      members.refuse("models", "a list of at least one name of a model", json["models"]);
  }
  if (json.contains("expires")) {
    try {
      key.expires = seconds_from_utc(members.get<std::string>("expires", "a time"));
    } catch (const InvalidInput&) {
      members.refuse("expires", "a time such as \"2026-11-25T15:04:05Z\"", json["expires"]);
    }
  }
  if (json.contains("requests_per_second")) {
    key.requests_per_second = members.get<double>("requests_per_second", "a number > 0");
    if (!(key.requests_per_second > 0) || !std::isfinite(key.requests_per_second))
      members.refuse("requests_per_second", "a number > 0", json["requests_per_second"]);
  }
  return key;
}

std::string folder_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

[[noreturn]] void fail(const std::string& path, const char* doing) {
  throw IoError(fmt::format("{}: cannot {}: {}", path, doing, std::strerror(errno)));
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (value_ < 0) fail(path, "open");
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(value_); }
  int get() const noexcept { return value_; }

 private:
  int value_;
};

void write_all(const Descriptor& to, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(to.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, "write");
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

/// Reads, changes and replaces the file while nobody else does so: the lock is on its folder, since the file itself is
/// replaced. Who owned the file still does.
template <class Change>
void change_keys(const std::string& path, Change change) {
  const AtomicFile file(path);  // makes the folder
  const Descriptor folder(folder_of(path), O_RDONLY | O_DIRECTORY);
  if (::flock(folder.get(), LOCK_EX) != 0) fail(folder_of(path), "lock");
  struct stat before {};
  const bool exists = ::lstat(path.c_str(), &before) == 0;
  ApiKeys keys;
  if (exists) keys = read_keys(path);
  change(keys);
  AtomicFile next(path, fmt::format("{}-keys", ::getpid()));
  {
    ::unlink(next.temporary_path().c_str());
    const Descriptor to(next.temporary_path(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    if (::fchmod(to.get(), 0600) != 0) fail(next.temporary_path(), "make private");
    if (exists && before.st_uid != ::geteuid() &&
        ::fchown(to.get(), before.st_uid, before.st_gid) != 0)
      fail(path, "keep its owner");
    write_all(to, next.temporary_path(), to_json(keys));
  }
  next.commit();
}

}  // namespace

bool ApiKey::may_see(std::string_view model) const noexcept {
  return models.empty() || std::ranges::find(models, model) != models.end();
}

ApiKeys keys_from_json(const std::string& text, const std::string& source) {
  const Json json = parse_json_file(text, source);
  const Members root(json, source, "");
  const Json& list = root.at("keys", "a list of keys");
  if (!list.is_array() || json.size() != 1) root.refuse("keys", "the only member, a list", list);
  ApiKeys keys;
  std::set<std::string> names;
  for (const Json& item : list) {
    keys.push_back(std::make_shared<const ApiKey>(key_from(item, source, keys.size())));
    if (!names.insert(keys.back()->name).second)
      throw InvalidInput(fmt::format("{}: /keys/{}/name: '{}' is the name of another key", source,
                                     keys.size() - 1, keys.back()->name));
  }
  return keys;
}

std::string to_json(const ApiKeys& keys) {
  Json list = Json::array();
  for (const auto& key : keys) {
    Json item = {{"name", key->name},
                 {"sha256", key->sha256},
                 {"access", key->access == Access::kAdmin ? "admin" : "infer"}};
    if (!key->models.empty()) item["models"] = key->models;
    if (key->expires > 0) item["expires"] = utc_text(key->expires);
    if (key->requests_per_second > 0) item["requests_per_second"] = key->requests_per_second;
    list.push_back(std::move(item));
  }
  const Json root = {{"keys", list}};
  return root.dump(1) + "\n";
}

ApiKeys read_keys(const std::string& path) {
  // A mounted secret is often a link: what it leads to counts.
  std::error_code error;
  const fs::path file = fs::canonical(path, error);
  if (error) throw IoError(fmt::format("cannot open {}: {}", path, error.message()));
  const SafeFile safe(folder_of(file.string()), file.filename().string());
  return keys_from_json(safe.read(kMostKeysBytes), path);
}

std::string create_key(const std::string& path, ApiKey key) {
  if (!is_model_name(key.name))
    throw InvalidInput(fmt::format(
        "'{}' cannot be the name of a key: letters, digits, '_', '.' and '-', at most 128",
        key.name));
  for (const std::string& model : key.models)
    if (!is_model_name(model))
      throw InvalidInput(fmt::format("'{}' cannot be the name of a model", model));
  std::array<unsigned char, 32> random{};
  if (::RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    throw Error("the system gives no random numbers");
  std::string secret = kPrefix;
  for (unsigned char byte : random) secret += fmt::format("{:02x}", byte);
  key.sha256 = sha256_hex(std::string_view(secret));
  change_keys(path, [&](ApiKeys& keys) {
    for (const auto& other : keys)
      if (other->name == key.name)
        throw InvalidInput(fmt::format("{} has a key '{}' already", path, key.name));
    keys.push_back(std::make_shared<const ApiKey>(key));
  });
  return secret;
}

void revoke_key(const std::string& path, const std::string& name) {
  change_keys(path, [&](ApiKeys& keys) {
    if (std::erase_if(keys, [&](const auto& key) { return key->name == name; }) == 0)
      throw InvalidInput(fmt::format("{} has no key '{}'", path, name));
  });
}

std::shared_ptr<const ApiKey> find_key(const ApiKeys& keys, std::string_view secret) {
  const std::string digest = sha256_hex(secret);
  std::shared_ptr<const ApiKey> found;
  for (const auto& key : keys)
    if (::CRYPTO_memcmp(key->sha256.data(), digest.data(), digest.size()) == 0) found = key;
  return found;
}

std::string utc_text(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::int64_t seconds_from_utc(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  const std::int64_t seconds = end != nullptr && *end == '\0' ? ::timegm(&parts) : -1;
  // Written back it must be the same: there is no 31st of February.
  if (seconds <= 0 || utc_text(seconds) != text)
    throw InvalidInput(
        fmt::format("expected a time such as 2026-11-25T15:04:05Z, found '{}'", text));
  return seconds;
}

}  // namespace phalanx
