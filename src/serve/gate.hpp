// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/http.hpp"
#include "serve/router.hpp"

namespace phalanx {

struct GateOptions {
  std::string keys_file;  ///< empty: whoever reaches the server may do everything
  double requests_per_second =
      0;             ///< of a key that has no limit of its own, or of an address; 0: no limit
  double burst = 0;  ///< so many at once; 0: as many as in a second, at least 1
  /// What a Host header may say, beside IP addresses, localhost and this host's name; "*.name" for all below, "*" for any.
  std::vector<std::string> allowed_hosts;
};

/// How many requests somebody may still make: filled steadily, up to a burst.
class TokenBucket {
 public:
  TokenBucket(double per_second, double burst, ServeClock::time_point now) noexcept
      : per_second_(per_second), burst_(burst), tokens_(burst), at_(now) {}

  /// Takes one; 0 if there was one, else the seconds until there is.
  double take(ServeClock::time_point now) noexcept;
  /// Whether it is as if nobody had taken anything.
  bool is_full(ServeClock::time_point now) const noexcept;
  double per_second() const noexcept { return per_second_; }

 private:
  double tokens_at(ServeClock::time_point now) const noexcept;

  double per_second_, burst_, tokens_;
  ServeClock::time_point at_;
};

/// Stands before all routes: whether a request may pass is decided here, and only here, when its head was read and before its
/// body is. In the thread of the io_context.
class Gate {
 public:
  /// Throws    InvalidInput, IoError for a keys file that cannot be used.
  explicit Gate(GateOptions options);

  /// Lets a request pass, with its key and the key's name, or not. Unknown paths need kInfer: without a key nobody learns which
  /// there are.
  ///
  /// A request with a valid key counts against the limit of the key; others count against their address, so that clients
  /// behind one address do not share a limit where they have keys.
  /// Throws    Refusal 403 for a host that is not allowed or a foreign origin; 401 without a valid key; 403 for a key that
  ///           lacks the access; 404 for a model that the key may not see, as if there were none; 429.
  void admit(HttpExchange& exchange, Access access, const RouteValues& values);
  void admit(HttpExchange& exchange, Access access, const RouteValues& values,
             ServeClock::time_point now, std::int64_t unix_seconds);

  /// To be called now and then: reads the keys file again if it has changed, and forgets who has not asked for a while. A file
  /// that cannot be read leaves the keys as they were.
  void refresh(ServeClock::time_point now = ServeClock::now());

  bool is_open() const noexcept { return options_.keys_file.empty(); }
  std::size_t keys() const noexcept { return keys_.size(); }

 private:
  /// Tells one state of a file from the next.
  struct Stamp {
    std::int64_t seconds = 0, nanoseconds = 0, size = 0;
    std::uint64_t inode = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  static Stamp stamp_of(const std::string& path) noexcept;
  void check_host(const HttpHead& head) const;
  static void check_origin(const HttpHead& head);
  void limit(std::map<std::string, TokenBucket>& buckets, const std::string& who, double per_second,
             ServeClock::time_point now);

  GateOptions options_;
  std::vector<std::string> hosts_;
  ApiKeys keys_;
  Stamp stamp_;
  std::map<std::string, TokenBucket> key_buckets_, address_buckets_;
};

}  // namespace phalanx
