// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "serve/prometheus.hpp"

namespace phalanx {
namespace {

constexpr double kNs = 1e-9, kNsInUs = 1e-3;

double number(std::uint64_t value) { return static_cast<double>(value); }
double number(std::int64_t value) { return static_cast<double>(value); }

/// A family with one sample per version of a model.
struct VersionFamily {
  const char *name, *type, *help;
  double (*value)(const ServedVersion&);
};

constexpr VersionFamily kVersionFamilies[] = {
    {"phalanx_rows_total", "counter", "Rows that were answered.",
     [](const ServedVersion& v) { return number(v.stats.inferences); }},
    {"phalanx_cancelled_total", "counter", "Requests whose client went away before the answer.",
     [](const ServedVersion& v) { return number(v.stats.cancelled); }},
    {"phalanx_queue_seconds_total", "counter",
     "Time that answered requests waited for their batch, summed.",
     [](const ServedVersion& v) { return number(v.stats.queue.ns) * kNs; }},
    {"phalanx_input_seconds_total", "counter",
     "Time that a rank took to prepare the input, summed over answered requests.",
     [](const ServedVersion& v) { return number(v.stats.input.ns) * kNs; }},
    {"phalanx_infer_seconds_total", "counter",
     "Time that a rank took to run the network, summed over answered requests.",
     [](const ServedVersion& v) { return number(v.stats.infer.ns) * kNs; }},
    {"phalanx_output_seconds_total", "counter",
     "Time that a rank took to write the answers, summed over answered requests.",
     [](const ServedVersion& v) { return number(v.stats.output.ns) * kNs; }},
    {"phalanx_waiting_rows", "gauge", "Rows that wait for a batch.",
     [](const ServedVersion& v) { return number(v.queue->waiting_rows()); }},
    {"phalanx_running_rows", "gauge", "Rows that are with a rank.",
     [](const ServedVersion& v) { return number(v.queue->running_rows()); }},
    {"phalanx_shadowed_total", "counter",
     "Requests that the shadow version answered as well, by the version whose answer was sent.",
     [](const ServedVersion& v) { return number(v.stats.shadowed); }},
    {"phalanx_shadow_disagreed_total", "counter",
     "Requests whose largest output was another one in the answer of the shadow version.",
     [](const ServedVersion& v) { return number(v.stats.shadow_disagreed); }},
};

/// Of versions, for those who run the server.
constexpr VersionFamily kOperatorFamilies[] = {
    {"phalanx_model_load_seconds", "gauge", "Time that the slowest rank took to load the version.",
     [](const ServedVersion& v) { return v.load_seconds; }},
    {"phalanx_model_memory_bytes", "gauge", "Memory of the version on every rank.",
     [](const ServedVersion& v) { return number(v.memory_bytes); }},
};

constexpr VersionFamily kTritonFamilies[] = {
    {"nv_inference_request_success", "counter", "Number of successful inference requests",
     [](const ServedVersion& v) { return number(v.stats.success.count); }},
    {"nv_inference_count", "counter", "Number of inferences performed",
     [](const ServedVersion& v) { return number(v.stats.inferences); }},
    {"nv_inference_exec_count", "counter", "Number of model executions performed",
     [](const ServedVersion& v) { return number(v.stats.executions); }},
    {"nv_inference_request_duration_us", "counter", "Inference request duration in microseconds",
     [](const ServedVersion& v) { return number(v.stats.success.ns) * kNsInUs; }},
    {"nv_inference_queue_duration_us", "counter", "Inference queuing duration in microseconds",
     [](const ServedVersion& v) { return number(v.stats.queue.ns) * kNsInUs; }},
    {"nv_inference_compute_input_duration_us", "counter",
     "Inference compute input duration in microseconds",
     [](const ServedVersion& v) { return number(v.stats.input.ns) * kNsInUs; }},
    {"nv_inference_compute_infer_duration_us", "counter",
     "Inference compute infer duration in microseconds",
     [](const ServedVersion& v) { return number(v.stats.infer.ns) * kNsInUs; }},
    {"nv_inference_compute_output_duration_us", "counter",
     "Inference compute output duration in microseconds",
     [](const ServedVersion& v) { return number(v.stats.output.ns) * kNsInUs; }},
    {"nv_inference_pending_request_count", "gauge", "Number of requests that wait",
     [](const ServedVersion& v) { return number(std::uint64_t{v.queue->waiting_requests()}); }},
};

constexpr VersionFamily kTritonOperatorFamilies[] = {
    {"nv_model_load_duration_secs", "gauge", "Model load time in seconds",
     [](const ServedVersion& v) { return v.load_seconds; }},
};

struct RankFamily {
  const char *name, *type, *help;
  double (*value)(const RankGroup::Rank&);
};

constexpr RankFamily kRankFamilies[] = {
    {"phalanx_rank_up", "gauge", "Whether the rank is there.",
     [](const RankGroup::Rank& r) { return r.is_connected ? 1.0 : 0.0; }},
    {"phalanx_rank_batches_total", "counter", "Batches that were sent to the rank.",
     [](const RankGroup::Rank& r) { return number(r.batches); }},
    {"phalanx_rank_rows_total", "counter", "Rows that were sent to the rank.",
     [](const RankGroup::Rank& r) { return number(r.rows); }},
    {"phalanx_rank_busy_seconds_total", "counter", "Time that the rank has computed.",
     [](const RankGroup::Rank& r) { return std::chrono::duration<double>(r.busy).count(); }},
    {"phalanx_rank_outstanding_batches", "gauge", "Batches that the rank has not answered yet.",
     [](const RankGroup::Rank& r) { return static_cast<double>(r.outstanding); }},
};

/// How the reference names the reason of a failure.
std::string_view triton_reason(int status) {
  switch (status) {
    case kClientGone: return "CANCELED";
    case 500: return "BACKEND";
    case 503: return "REJECTED";
    default: return "OTHER";
  }
}

class Page {
 public:
  /// Models that the client's key may not see are left out, and the server's inside if the key may only ask models.
  Page(const OperationView& view, const HttpExchange& exchange) : view_(view), exchange_(exchange) {
    for (const auto& [name, entry] : view.registry.models())
      for (const auto& [number, served] : entry.versions)
        if (exchange.may_see(name))
          versions_.push_back(
              {MetricLabels().with("model", name).with("version", fmt::format("{}", number)),
               served.get()});
  }

  std::string write(bool triton_names) {
    single("phalanx_ready", "gauge",
           "Whether the ranks are there, and every model is loaded or could not be.",
           view_.is_ready() ? 1 : 0);
    single("phalanx_ranks_up", "gauge", "Whether all ranks are there.",
           view_.group.is_up() ? 1 : 0);
    if (exchange_.may_operate()) {
      server();
      http();
      ranks();
      for (const VersionFamily& family : kOperatorFamilies) versions(family);
    }
    for (const VersionFamily& family : kVersionFamilies) versions(family);
    requests();
    states();
    aliases();
    latencies();
    batches();
    if (triton_names) triton();
    return text_.text();
  }

 private:
  struct Version {
    MetricLabels labels;
    const ServedVersion* served;
  };

  void single(const char* name, const char* type, const char* help, double value) {
    text_.family(name, type, help);
    text_.add({}, value);
  }

  void server() {
    const ProcessUsage usage = process_usage();
    text_.family("phalanx_build_info", "gauge", "The program; always 1.");
    text_.add(MetricLabels().with("version", view_.program_version).with("compiler", __VERSION__),
              1);
    single("phalanx_start_time_seconds", "gauge", "When the server was started, since 1970.",
           std::chrono::duration<double>(view_.started.time_since_epoch()).count());
    single("phalanx_process_resident_bytes", "gauge", "Memory of the front end's process.",
           number(usage.resident_bytes));
    single("phalanx_process_cpu_seconds_total", "counter", "CPU time of the front end's process.",
           usage.cpu_seconds);
    single("phalanx_request_memory_used_bytes", "gauge",
           "Memory that rows of requests and their answers take.",
           number(std::uint64_t{view_.arena.used_bytes()}));
    single("phalanx_request_memory_bytes", "gauge", "Memory that there is for them.",
           number(std::uint64_t{view_.arena.size_bytes()}));
  }

  void http() {
    const HttpStats& s = view_.http_stats;
    single("phalanx_connections", "gauge", "Open connections of clients.",
           number(std::uint64_t{view_.http.connections()}));
    single("phalanx_http_requests_in_progress", "gauge", "Requests that are received or answered.",
           number(std::uint64_t{view_.http.requests_in_progress()}));
    single("phalanx_http_received_bytes_total", "counter", "Bytes of requests.",
           number(s.received_bytes));
    single("phalanx_http_sent_bytes_total", "counter", "Bytes of answers.", number(s.sent_bytes));
    text_.family("phalanx_http_requests_total", "counter",
                 "Requests that were answered, by the pattern of their path and status.");
    for (const auto& [key, count] : s.by_route)
      text_.add(MetricLabels()
                    .with("route", key.first.empty() ? "none" : key.first)
                    .with("status", fmt::format("{}", key.second)),
                number(count));
    text_.family("phalanx_http_request_seconds", "histogram",
                 "From the first byte of a request to the last of its answer.");
    latency({}, s.seconds);
  }

  void ranks() {
    single("phalanx_rank_restarts_total", "counter", "How often the ranks were started again.",
           number(view_.group.restarts()));
    const auto& ranks = view_.group.ranks();
    for (const RankFamily& family : kRankFamilies) {
      text_.family(family.name, family.type, family.help);
      for (std::size_t i = 0; i < ranks.size(); ++i)
        text_.add(MetricLabels()
                      .with("rank", fmt::format("{}", i))
                      .with("host", ranks[i].host)
                      .with("device", ranks[i].device),
                  family.value(ranks[i]));
    }
  }

  void versions(const VersionFamily& family) {
    text_.family(family.name, family.type, family.help);
    for (const Version& v : versions_) text_.add(v.labels, family.value(*v.served));
  }

  void requests() {
    text_.family("phalanx_requests_total", "counter",
                 "Requests whose rows reached a model, by the status of their answer; 499: the "
                 "client went away.");
    for (const Version& v : versions_)
      for (const auto& [status, count] : v.served->stats.by_status)
        text_.add(v.labels.with("status", fmt::format("{}", status)), number(count));
  }

  void states() {
    text_.family("phalanx_model_state", "gauge", "1 for the state that the version is in.");
    for (const Version& v : versions_)
      for (const VersionState state : {VersionState::kLoading, VersionState::kReady,
                                       VersionState::kUnloading, VersionState::kUnavailable})
        text_.add(v.labels.with("state", name(state)), v.served->state == state ? 1 : 0);
  }

  void aliases() {
    text_.family("phalanx_alias_share", "gauge",
                 "Share of the requests without a version that goes to an alias, 0 to 1.");
    for (const auto& [model, entry] : view_.registry.models())
      for (const auto& [alias, a] : entry.config.aliases)
        if (exchange_.may_see(model))
          text_.add(MetricLabels()
                        .with("model", model)
                        .with("version", fmt::format("{}", a.version))
                        .with("alias", alias),
                    a.percent / 100.0);
  }

  void latency(const MetricLabels& labels, const LatencyHistogram& histogram) {
    std::array<std::uint64_t, LatencyHistogram::kBounds.size() + 1> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = histogram.in_bucket(i);
    text_.add_histogram(labels, LatencyHistogram::kBounds, counts, histogram.sum());
  }

  void latencies() {
    text_.family("phalanx_request_latency_seconds", "histogram",
                 "From a request's rows being complete to their answers, of answered requests.");
    for (const Version& v : versions_) latency(v.labels, v.served->stats.latency);
  }

  void batches() {
    static constexpr std::array<double, 11> kBounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
    text_.family("phalanx_batch_rows", "histogram", "Rows per batch.");
    for (const Version& v : versions_) {
      std::array<std::uint64_t, kBounds.size() + 1> counts{};
      double sum = 0;
      for (const auto& [rows, batch] : v.served->stats.batches) {
        const auto bucket =
            std::ranges::lower_bound(kBounds, static_cast<double>(rows)) - kBounds.begin();
        counts[static_cast<std::size_t>(bucket)] += batch.infer.count;
        sum += number(rows) * number(batch.infer.count);
      }
      text_.add_histogram(v.labels, kBounds, counts, sum);
    }
    text_.family("phalanx_batch_seconds_total", "counter", "Time of ranks in batches, by stage.");
    for (const Version& v : versions_) {
      std::uint64_t input = 0, infer = 0, output = 0;
      for (const auto& [rows, batch] : v.served->stats.batches)
        input += batch.input.ns, infer += batch.infer.ns, output += batch.output.ns;
      text_.add(v.labels.with("stage", "input"), number(input) * kNs);
      text_.add(v.labels.with("stage", "infer"), number(infer) * kNs);
      text_.add(v.labels.with("stage", "output"), number(output) * kNs);
    }
  }

  void triton() {
    for (const VersionFamily& family : kTritonFamilies) versions(family);
    if (exchange_.may_operate())
      for (const VersionFamily& family : kTritonOperatorFamilies) versions(family);
    text_.family("nv_inference_request_failure", "counter",
                 "Number of failed inference requests, by reason");
    for (const Version& v : versions_) {
      std::map<std::string_view, std::uint64_t> by_reason = {
          {"REJECTED", 0}, {"CANCELED", 0}, {"BACKEND", 0}, {"OTHER", 0}};
      for (const auto& [status, count] : v.served->stats.by_status)
        if (status != 200) by_reason[triton_reason(status)] += count;
      for (const auto& [reason, count] : by_reason)
        text_.add(v.labels.with("reason", reason), number(count));
    }
  }

  const OperationView& view_;
  const HttpExchange& exchange_;
  std::vector<Version> versions_;
  PrometheusText text_;
};

}  // namespace

std::vector<Route> metrics_routes(OperationView view, bool triton_names) {
  return {{"GET", "/metrics", Access::kInfer, "Counters and gauges for Prometheus",
           [view = std::move(view), triton_names](HttpExchange& exchange,
                                                  const RouteValues&) -> Awaitable<HttpResponse> {
             HttpResponse response;
             response.content_type = PrometheusText::kContentType;
             response.body = Page(view, exchange).write(triton_names);
             co_return response;
           }}};
}

}  // namespace phalanx
