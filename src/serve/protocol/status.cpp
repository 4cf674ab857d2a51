// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/status.hpp"

#include <fmt/format.h>

#include "serve/json_file.hpp"

namespace phalanx {
namespace {

constexpr double kNs = 1e-9;

double seconds(const CountAndTime& t) { return static_cast<double>(t.ns) * kNs; }

Json latency_json(const LatencyHistogram& h) {
  Json counts = Json::array();
  for (std::size_t i = 0; i <= LatencyHistogram::kBounds.size(); ++i)
    counts.push_back(h.in_bucket(i));
  return {{"counts", counts}, {"sum_s", h.sum()}};
}

Json version_json(const ServedVersion& v, const Repository& repository, bool may_operate) {
  const VersionStats& s = v.stats;
  Json batches = Json::object();
  for (const auto& [rows, batch] : s.batches) batches[fmt::format("{}", rows)] = batch.infer.count;
  Json statuses = Json::object();
  for (const auto& [status, count] : s.by_status) statuses[fmt::format("{}", status)] = count;
  const auto sizes = v.manifest.input.shape.sizes();
  Json json = {{"version", fmt::format("{}", v.version)},
               {"state", name(v.state)},
               {"task", name(v.manifest.task)},
               {"input", std::vector<std::int64_t>(sizes.begin(), sizes.end())},
               {"outputs", v.output_numel()},
               {"is_image", v.manifest.is_image},
               {"max_batch_size", v.config.max_batch_size},
               {"waiting_rows", v.queue->waiting_rows()},
               {"running_rows", v.queue->running_rows()},
               {"requests", s.success.count + s.fail.count},
               {"failed", s.fail.count},
               {"cancelled", s.cancelled},
               {"by_status", statuses},
               {"rows", s.inferences},
               {"batches", s.executions},
               {"batch_rows", batches},
               {"queue_s", seconds(s.queue)},
               {"input_s", seconds(s.input)},
               {"infer_s", seconds(s.infer)},
               {"output_s", seconds(s.output)},
               {"shadowed", s.shadowed},
               {"shadow_disagreed", s.shadow_disagreed},
               {"latency", latency_json(s.latency)}};
  if (!may_operate) return json;
  json["reason"] = repository.without_folder(v.reason);
  json["load_s"] = v.load_seconds;
  json["memory_bytes"] = v.memory_bytes;
  return json;
}

Json model_json(const std::string& model, const ServedModelEntry& entry,
                const Repository& repository, bool may_operate) {
  Json aliases = Json::array();
  for (const auto& [alias, a] : entry.config.aliases)
    aliases.push_back(
        {{"name", alias}, {"version", fmt::format("{}", a.version)}, {"percent", a.percent}});
  Json versions = Json::array();
  for (const auto& [number, served] : entry.versions)
    versions.push_back(version_json(*served, repository, may_operate));
  const std::int64_t shadow = entry.config.shadow_version;
  return {{"name", model},
          {"aliases", aliases},
          {"shadow_version", shadow > 0 ? fmt::format("{}", shadow) : std::string()},
          {"versions", versions}};
}

Json ranks_json(const RankGroup& group, bool may_operate) {
  if (!may_operate) return {{"up", group.is_up()}};
  Json list = Json::array();
  for (const RankGroup::Rank& r : group.ranks())
    list.push_back({{"rank", list.size()},
                    {"node", r.node},
                    {"host", r.host},
                    {"device", r.device},
                    {"up", r.is_connected},
                    {"outstanding", r.outstanding},
                    {"batches", r.batches},
                    {"rows", r.rows},
                    {"busy_s", std::chrono::duration<double>(r.busy).count()}});
  return {{"up", group.is_up()}, {"restarts", group.restarts()}, {"list", list}};
}

/// What all clients together do, and what that takes.
void add_server(Json& status, const OperationView& view) {
  const ProcessUsage usage = process_usage();
  const HttpStats& http = view.http_stats;
  status["http"] = {{"connections", view.http.connections()},
                    {"in_progress", view.http.requests_in_progress()},
                    {"requests", http.requests},
                    {"refused", http.by_class[4]},
                    {"failed", http.by_class[5]},
                    {"received_bytes", http.received_bytes},
                    {"sent_bytes", http.sent_bytes}};
  status["memory"] = {{"requests_used_bytes", view.arena.used_bytes()},
                      {"requests_bytes", view.arena.size_bytes()},
                      {"resident_bytes", usage.resident_bytes}};
  status["cpu_s"] = usage.cpu_seconds;
}

/// With the models that the client's key may see, and without the server's inside if the key may only ask models.
std::string status_text(const OperationView& view, const HttpExchange& exchange) {
  const auto now = std::chrono::system_clock::now();
  const bool may_operate = exchange.may_operate();
  Json models = Json::array();
  for (const auto& [model, entry] : view.registry.models())
    if (exchange.may_see(model))
      models.push_back(model_json(model, entry, view.registry.repository(), may_operate));
  Json status = {{"version", view.program_version},
                 {"ready", view.is_ready()},
                 {"draining", view.is_draining()},
                 {"time_s", std::chrono::duration<double>(now.time_since_epoch()).count()},
                 {"uptime_s", std::chrono::duration<double>(now - view.started).count()},
                 {"ranks", ranks_json(view.group, may_operate)},
                 {"latency_bounds_s", LatencyHistogram::kBounds},
                 {"models", models}};
  if (may_operate) add_server(status, view);
  return status.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::vector<Route> status_routes(OperationView view) {
  return {{"GET", "/status", Access::kInfer, "Models, ranks, counters and gauges, for dashboards",
           [view = std::move(view)](HttpExchange& exchange,
                                    const RouteValues&) -> Awaitable<HttpResponse> {
             HttpResponse response;
             response.headers.emplace_back("Cache-Control", "no-store");
             response.body = status_text(view, exchange);
             co_return response;
           },
           "Status"}};
}

}  // namespace phalanx
