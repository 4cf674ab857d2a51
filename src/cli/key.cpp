// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>

#include "cli/options.hpp"
#include "cli/session.hpp"
#include "core/text.hpp"
#include "serve/api_keys.hpp"

namespace phalanx {
namespace {

std::int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ExitCode key_create_command(MpiRuntime& mpi, Arguments arguments) {
  ApiKey key;
  std::string file, access = "infer", models;
  std::int64_t days = 0;
  OptionTable table("phalanx key create --keys FILE --name NAME [options]");
  table.add("keys", &file, "path", "JSON file of keys; made if it is missing").required();
  table.add("name", &key.name, "", "of the key, in logs").required();
  table.add("access", &access, "", "infer: ask models; admin: also load and unload them")
      .choices({"infer", "admin"});
  table.add("models", &models, "", "that the key may see, separated by commas; empty: all");
  table.add("expires-days", &days, "days", "from now; 0: never").at_least(0).at_most(36500);
  table.add("requests-per-second", &key.requests_per_second, "", "0: the server's limit")
      .at_least(0);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() != 0) return ExitCode::kDone;
  key.access = access == "admin" ? Access::kAdmin : Access::kInfer;
  if (!models.empty())
    for (const std::string_view model : split(models, ',')) key.models.emplace_back(trim(model));
  constexpr std::int64_t kDay = 86400;
  if (days > 0) key.expires = now_seconds() + days * kDay;
  const std::string secret = create_key(file, key);
  fmt::print(stderr, "the key of '{}' is shown only now; {} has its digest\n", key.name, file);
  fmt::print("{}\n", secret);
  return ExitCode::kDone;
}

ExitCode key_list_command(MpiRuntime& mpi, Arguments arguments) {
  std::string file;
  OptionTable table("phalanx key list --keys FILE");
  table.add("keys", &file, "path", "JSON file of keys").required();
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() != 0) return ExitCode::kDone;
  const std::int64_t now = now_seconds();
  for (const auto& key : read_keys(file)) {
    std::string line = key->access == Access::kAdmin ? "admin" : "infer";
    line += key->models.empty() ? ", all models" : fmt::format(", {}", fmt::join(key->models, " "));
    if (key->requests_per_second > 0)
      line += fmt::format(", {:g} requests per second", key->requests_per_second);
    if (key->expires > 0)
      line +=
          fmt::format(", {} {}", key->expires <= now ? "expired" : "until", utc_text(key->expires));
    print_line(key->name, line);
  }
  return ExitCode::kDone;
}

ExitCode key_revoke_command(MpiRuntime& mpi, Arguments arguments) {
  std::string file, name;
  OptionTable table("phalanx key revoke --keys FILE --name NAME");
  table.add("keys", &file, "path", "JSON file of keys").required();
  table.add("name", &name, "", "of the key").required();
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() == 0) revoke_key(file, name);
  return ExitCode::kDone;
}

}  // namespace phalanx
