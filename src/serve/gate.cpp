// SPDX-License-Identifier: Apache-2.0
#include "serve/gate.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "serve/http_head.hpp"

namespace phalanx {
namespace {

/// "name" of "name:8000", "::1" of "[::1]:8000"; empty if it is malformed.
std::string_view host_of(std::string_view authority) {
  std::size_t end = authority.find(':');
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return {};
    end = close + 1;
  }
  const std::string_view rest = authority.substr(std::min(end, authority.size()));
  if (!rest.empty() &&
      (rest[0] != ':' || rest.find_first_not_of("0123456789", 1) != std::string_view::npos))
    return {};
  const std::string_view host = authority.substr(0, authority.size() - rest.size());
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

bool is_address(std::string_view host) {
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(host), error);
  return !error;
}

std::string own_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

/// Who holds an IPv6 address usually holds all of its /64.
std::string network_of(const std::string& client) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(client, error);
  if (error || !address.is_v6() || address.to_v6().is_v4_mapped()) return client;
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return boost::asio::ip::address_v6(bytes).to_string();
}

int count_of(const HttpHead& head, std::string_view name) {
  return static_cast<int>(
      std::ranges::count_if(head.headers, [&](const auto& field) { return field.first == name; }));
}

/// Of "Authorization: Bearer KEY" or "X-API-Key: KEY"; empty if there is none, or more than one.
std::string_view secret_of(const HttpHead& head) {
  if (count_of(head, "authorization") + count_of(head, "x-api-key") != 1) return {};
  if (const std::string_view key = head.header("x-api-key"); !key.empty()) return key;
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = head.header("authorization");
  if (lower_case(value.substr(0, kScheme.size())) != kScheme) return {};
  return trim(value.substr(kScheme.size()));
}

}  // namespace

bool HttpExchange::may_see(std::string_view model_name) const noexcept {
  return key == nullptr || key->may_see(model_name);
}

bool HttpExchange::may_operate() const noexcept {
  return key == nullptr || key->access == Access::kAdmin;
}

double TokenBucket::tokens_at(ServeClock::time_point now) const noexcept {
  const double passed = std::chrono::duration<double>(now - at_).count();
  return std::min(burst_, tokens_ + std::max(passed, 0.0) * per_second_);
}

double TokenBucket::take(ServeClock::time_point now) noexcept {
  tokens_ = tokens_at(now);
  at_ = now;
  if (tokens_ < 1) return (1 - tokens_) / per_second_;
  tokens_ -= 1;
  return 0;
}

bool TokenBucket::is_full(ServeClock::time_point now) const noexcept {
  return tokens_at(now) >= burst_;
}

Gate::Gate(GateOptions options) : options_(std::move(options)) {
  hosts_ = {"localhost", lower_case(own_name())};
  if (const std::size_t dot = hosts_[1].find('.'); dot != std::string::npos)
    hosts_.push_back(hosts_[1].substr(0, dot));
  for (const std::string& host : options_.allowed_hosts) hosts_.push_back(lower_case(host));
  if (is_open()) return;
  stamp_ = stamp_of(options_.keys_file);
  keys_ = read_keys(options_.keys_file);
}

void Gate::check_host(const HttpHead& head) const {
  const std::string_view authority = head.header("host");
  if (authority.empty()) return;  // HTTP/1.0: no browser says that
  const std::string host = lower_case(host_of(authority));
  const bool is_known = std::ranges::any_of(hosts_, [&](const std::string& known) {
    return known == "*" || known == host ||
           (known.starts_with("*.") && host.size() > known.size() - 1 &&
            host.ends_with(std::string_view(known).substr(1)));
  });
  if (host.empty() || (!is_known && !is_address(host)))
    throw Refusal(403, "the server is not known by the name in the Host header");
}

/// A browser names the site whose script asks. Nothing that changes or costs something is done for scripts of other sites.
void Gate::check_origin(const HttpHead& head) {
  if (head.method == "GET" || head.method == "HEAD") return;
  for (const auto& [name, value] : head.headers) {
    if (name != "origin") continue;
    const std::size_t scheme = value.find("://");
    const std::string site =
        scheme == std::string::npos ? "" : lower_case(value.substr(scheme + 3));
    if (site.empty() || site != lower_case(head.header("host")))
      throw Refusal(403, "requests of scripts of other sites are not taken");
  }
}

void Gate::limit(std::map<std::string, TokenBucket>& buckets, const std::string& who,
                 double per_second, ServeClock::time_point now) {
  if (per_second <= 0) return;
  // Whoever comes when so many are remembered shares a bucket with all who come then.
  constexpr std::size_t kMostBuckets = 65536;
  const bool is_crowded = buckets.size() >= kMostBuckets && !buckets.contains(who);
  const double burst = options_.burst > 0 ? options_.burst : std::max(per_second, 1.0);
  const auto place =
      buckets.try_emplace(is_crowded ? std::string() : who, per_second, burst, now).first;
  if (place->second.per_second() != per_second) place->second = {per_second, burst, now};
  const double wait = place->second.take(now);
  if (wait > 0)
    throw Refusal(429, fmt::format("more than {:g} requests per second", per_second),
                  static_cast<int>(std::min(std::ceil(wait), 3600.0)));
}

void Gate::admit(HttpExchange& exchange, Access access, const RouteValues& values) {
  admit(exchange, access, values, ServeClock::now(),
        std::chrono::duration_cast<std::chrono::seconds>(
            std::chrono::system_clock::now().time_since_epoch())
            .count());
}

void Gate::admit(HttpExchange& exchange, Access access, const RouteValues& values,
                 ServeClock::time_point now, std::int64_t unix_seconds) {
  const HttpHead& head = exchange.head();
  check_host(head);
  check_origin(head);
  if (access == Access::kPublic) return;
  exchange.counts_for = network_of(head.client);
  if (is_open())
    return limit(address_buckets_, exchange.counts_for, options_.requests_per_second, now);
  const std::string_view secret = secret_of(head);
  auto key = secret.empty() ? nullptr : find_key(keys_, secret);
  if (key && key->expires > 0 && key->expires <= unix_seconds) key = nullptr;
  if (!key) {
    limit(address_buckets_, exchange.counts_for, options_.requests_per_second, now);
    throw Refusal(401, "a valid key is needed: Authorization: Bearer KEY, or X-API-Key: KEY");
  }
  exchange.key = key;
  exchange.user = exchange.counts_for = key->name;
  limit(key_buckets_, key->name,
        key->requests_per_second > 0 ? key->requests_per_second : options_.requests_per_second,
        now);
  if (access == Access::kAdmin && key->access != Access::kAdmin)
    throw Refusal(403, "the key may ask models, but not change what is served");
  if (const auto model = values.find("model");
      model != values.end() && !key->may_see(model->second))
    throw Refusal(404, fmt::format("there is no model '{}'", model->second));
}

Gate::Stamp Gate::stamp_of(const std::string& path) noexcept {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size, status.st_ino};
}

void Gate::refresh(ServeClock::time_point now) {
  for (auto* buckets : {&key_buckets_, &address_buckets_})
    std::erase_if(*buckets, [&](const auto& item) { return item.second.is_full(now); });
  if (is_open()) return;
  const Stamp stamp = stamp_of(options_.keys_file);
  if (stamp == stamp_) return;
  stamp_ = stamp;
  try {
    keys_ = read_keys(options_.keys_file);
    log_info("{} keys were read again from {}", keys_.size(), options_.keys_file);
  } catch (const Error& e) {
    log_error("the keys stay as they were: {}", e.what());
  }
}

}  // namespace phalanx
