// SPDX-License-Identifier: Apache-2.0
#include "serve/model_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/text.hpp"
#include "serve/json_file.hpp"
#include "serve/safe_file.hpp"

namespace phalanx {
namespace {

const std::vector<std::string> kMembers = {
    "max_batch_size", "max_queue_delay_us", "preferred_batch_sizes", "max_queue_rows",
    "timeout_ms",     "target_p99_ms",      "version_policy",        "aliases",
    "shadow_version"};

void refuse_unknown(const Json& root, const std::string& source) {
  for (const auto& item : root.items())
    if (std::ranges::find(kMembers, item.key()) == kMembers.end())
      throw InvalidInput(fmt::format("{}: unknown member '{}'; the nearest is '{}'", source,
                                     item.key(), nearest(item.key(), kMembers)));
}

std::vector<std::int64_t> ascending(const Members& root, const char* member) {
  const Json& list = root.at(member, "a list");
  const std::string expected = "a list of positive integers";
  if (!list.is_array() || !std::ranges::all_of(list, [](const Json& v) {
        return v.is_number_integer() && v.get<std::int64_t>() > 0;
      }))
    root.refuse(member, expected, list);
  auto values = list.get<std::vector<std::int64_t>>();
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

VersionPolicy policy_from(const Members& root) {
  const char* expected = R"("all", {"latest": N} or {"specific": [N, ...]})";
  const Json& value = root.at("version_policy", expected);
  if (value.is_string() && value.get<std::string>() == "all")
    return {VersionPolicy::Kind::kAll, 0, {}};
  if (!value.is_object() || value.size() != 1) root.refuse("version_policy", expected, value);
  const Members policy = root.object("version_policy");
  if (value.contains("latest"))
    return {VersionPolicy::Kind::kLatest, policy.integer("latest", 1), {}};
  if (value.contains("specific"))
    return {VersionPolicy::Kind::kSpecific, 0, ascending(policy, "specific")};
  root.refuse("version_policy", expected, value);
}

std::map<std::string, Alias> aliases_from(const Members& root) {
  std::map<std::string, Alias> aliases;
  const Members members = root.object("aliases");
  int sum = 0;
  for (const auto& item : root.at("aliases", "an object").items()) {
    const bool is_number = item.key().find_first_not_of("0123456789") == std::string::npos;
    if (!is_model_name(item.key()) || is_number)
      root.refuse("aliases", "names that are not numbers", Json(item.key()));
    const Members alias = members.object(item.key().c_str());
    Alias a{alias.integer("version", 1), 0};
    if (item.value().contains("percent")) {
      const std::int64_t percent = alias.integer("percent", 0);
      if (percent > 100) alias.refuse("percent", "an integer from 0 to 100", Json(percent));
      a.percent = static_cast<int>(percent);
    }
    sum += a.percent;
    aliases.emplace(item.key(), a);
  }
  if (sum != 0 && sum != 100)
    root.refuse("aliases", fmt::format("percents that add up to 100 (they add up to {})", sum),
                root.at("aliases", ""));
  return aliases;
}

}  // namespace

std::vector<std::int64_t> VersionPolicy::select(const std::vector<std::int64_t>& published) const {
  if (kind == Kind::kAll) return published;
  std::vector<std::int64_t> chosen;
  if (kind == Kind::kLatest) {
    const auto most = std::min(static_cast<std::int64_t>(published.size()), count);
    chosen.assign(published.end() - most, published.end());
  } else {
    std::ranges::set_intersection(published, versions, std::back_inserter(chosen));
  }
  return chosen;
}

ModelConfig model_config_from_json(const std::string& text, const std::string& source) {
  const Json json = parse_json_file(text, source);
  const Members root(json, source, "");
  refuse_unknown(json, source);
  ModelConfig c;
  const auto take = [&](const char* member, std::int64_t least, std::int64_t most,
                        std::int64_t& value) {
    if (!json.contains(member)) return;
    value = root.integer(member, least);
    if (value > most)
      root.refuse(member, fmt::format("an integer from {} to {}", least, most), Json(value));
  };
  constexpr std::int64_t kDayMs = 86'400'000, kMinuteUs = 60'000'000, kMostRows = 1 << 16;
  take("max_batch_size", 1, kMostRows, c.max_batch_size);
  take("max_queue_delay_us", 0, kMinuteUs, c.max_queue_delay_us);
  take("max_queue_rows", 1, std::int64_t{1} << 32, c.max_queue_rows);
  take("timeout_ms", 1, kDayMs, c.timeout_ms);
  take("target_p99_ms", 0, kDayMs, c.target_p99_ms);
  take("shadow_version", 0, INT64_MAX, c.shadow_version);
  if (json.contains("preferred_batch_sizes"))
    c.preferred_batch_sizes = ascending(root, "preferred_batch_sizes");
  if (!c.preferred_batch_sizes.empty() && c.preferred_batch_sizes.back() > c.max_batch_size)
    root.refuse("preferred_batch_sizes",
                fmt::format("at most max_batch_size = {}", c.max_batch_size),
                root.at("preferred_batch_sizes", ""));
  if (json.contains("version_policy")) c.versions = policy_from(root);
  if (json.contains("aliases")) c.aliases = aliases_from(root);
  return c;
}

std::string to_json(const ModelConfig& c) {
  Json json = {{"max_batch_size", c.max_batch_size},
               {"max_queue_delay_us", c.max_queue_delay_us},
               {"preferred_batch_sizes", c.preferred_batch_sizes},
               {"max_queue_rows", c.max_queue_rows},
               {"timeout_ms", c.timeout_ms},
               {"target_p99_ms", c.target_p99_ms}};
  switch (c.versions.kind) {
    case VersionPolicy::Kind::kAll: json["version_policy"] = "all"; break;
    case VersionPolicy::Kind::kLatest:
      json["version_policy"] = {{"latest", c.versions.count}};
      break;
    case VersionPolicy::Kind::kSpecific:
      json["version_policy"] = {{"specific", c.versions.versions}};
      break;
  }
  json["aliases"] = Json::object();
  for (const auto& [name, alias] : c.aliases)
    json["aliases"][name] = {{"version", alias.version}, {"percent", alias.percent}};
  json["shadow_version"] = c.shadow_version;
  return json.dump(1) + "\n";
}

}  // namespace phalanx
