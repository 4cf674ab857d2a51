// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <map>
#include <optional>

#include "cli/rank_options.hpp"
#include "cli/session.hpp"
#include "comm/start_watch.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "serve/check.hpp"
#include "serve/front.hpp"
#include "serve/rank_server.hpp"
#include "serve/repository.hpp"
#include "serve/wire.hpp"

namespace phalanx {
namespace {

/// mpirun with as many ranks on the same hosts as this job has.
std::string mpirun_of(const RankLayout& layout, std::int64_t ranks) {
  const std::string words = fmt::format("mpirun -n {} --oversubscribe --bind-to none", ranks);
  if (layout.nodes == 1) return words;
  std::map<int, std::pair<std::string, int>> on_node;
  for (std::size_t r = 0; r < layout.hosts.size(); ++r) {
    auto& [host, count] = on_node[layout.node_of[r]];
    host = layout.hosts[r];
    ++count;
  }
  std::string hosts;
  for (const auto& [node, place] : on_node)
    hosts += fmt::format("{}{}:{}", hosts.empty() ? "" : ",", place.first, place.second);
  return words + " --host " + hosts;
}

/// What starts the ranks. mpirun gives its environment to other hosts only where it is told to.
std::vector<std::string> launch_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::string_view word : split_words(text)) words.emplace_back(word);
  if (!words.empty() && (words[0].ends_with("mpirun") || words[0].ends_with("mpiexec")))
    for (const char* name : kRankVariables) words.insert(words.end(), {"-x", name});
  return words;
}

/// The layout that mpirun or srun gave this job, which then ends: Open MPI takes a whole job down with any of its ranks, and
/// the front end outlives them.
RankLayout layout_of_job(int& argc, char**& argv) {
  MpiRuntime mpi(argc, argv);
  configure_log(LogLevel::kInfo, mpi.rank(), mpi.size());
  return make_rank_layout(mpi);
}

ExitCode print_check(const ServeCheck& check) {
  for (const std::string& line : check.lines) fmt::print("{}\n", line);
  for (const std::string& error : check.errors) log_error("{}", error);
  return check.errors.empty() ? ExitCode::kDone : ExitCode::kData;
}

/// What the command line says of a server.
struct ServeArguments {
  FrontOptions front;
  std::string launch;
  bool is_check = false;
  std::int64_t ranks = 0, attached = 0, attached_nodes = 1;
};

/// Nothing if there is something to print instead, which `is_first` does.
std::optional<ServeArguments> parse_serve(Arguments arguments, bool is_first) {
  ServeArguments parsed;
  FrontOptions& options = parsed.front;
  std::int64_t port = options.http.port, body_mib = 64, arena_mib = 1024, most_connections = 4096,
               per_client = 1024, arriving = 50, arriving_per_client = 25;
  OptionTable table("[mpirun -n N] phalanx serve --repository FOLDER [options]");
  table.group("Models");
  table.add("repository", &options.repository, "path", "made by `phalanx publish`");
  table.add("model", &options.models, "", "loaded at the start; none given: all");
  table.add("check", &parsed.is_check, "",
            "look at port, keys, certificate, models and digests, say what is wrong, and end");
  table.group("Network");
  table.add("address", &options.http.address, "", "IP address that is listened on");
  table.add("port", &port, "", "0: any that is free").at_least(0).at_most(65535);
  table.add("certificate", &options.http.certificate, "path", "PEM file; with it TLS 1.3");
  table.add("key", &options.http.key, "path", "PEM file of the certificate's private key");
  table.add("keys", &options.gate.keys_file, "path",
            "made by `phalanx key create`; empty: whoever reaches the server may do everything");
  table
      .add("requests-per-second", &options.gate.requests_per_second, "",
           "of a key without a limit of its own, or of an address without a key; 0: no limit")
      .at_least(0);
  table.add("burst", &options.gate.burst, "requests", "at once; 0: as many as in a second")
      .at_least(0);
  table.add("allow-host", &options.gate.allowed_hosts, "",
            "name of this server in Host headers, beside its own, localhost and IP addresses; "
            "*.name: all below; *: any");
  table.add("max-body-mib", &body_mib, "MiB", "longest body of a request; of /predict at most 64")
      .at_least(1);
  table
      .add("max-connections", &most_connections, "",
           "at once; beyond, clients get 429, or with TLS nothing")
      .at_least(1);
  table.add("max-connections-per-client", &per_client, "", "of one address").at_least(1);
  table.add("idle-seconds", &options.http.idle_seconds, "s", "between requests of a connection")
      .above(0);
  table.add("header-seconds", &options.http.header_seconds, "s", "for the head of a request")
      .above(0);
  table.add("body-seconds", &options.http.body_seconds, "s", "for the body of a request").above(0);
  table.add("drain-seconds", &options.drain_seconds, "s", "after SIGTERM, for requests in progress")
      .at_least(0);
  table
      .add("grace-seconds", &options.grace_seconds, "s",
           "after SIGTERM, while requests are still taken but readiness is denied")
      .at_least(0);
  table.add("access-log", &options.access_log, "path",
            "a line of JSON per request; -: standard output");
  table.add("triton-metrics", &options.triton_metrics, "",
            "also the metrics nv_inference_*, for boards made for Triton");
  table.group("Ranks");
  table.add(
      "launch", &parsed.launch, "",
      "what starts them, such as \"srun -n 4\" beside ranks = 4; none: mpirun, on the hosts of "
      "this job");
  table
      .add("ranks", &parsed.ranks, "",
           "of the group that computes; 0: as many as mpirun or srun has started")
      .at_least(0);
  add_device_options(table, options.ranks.device, options.ranks.threads);
  table.add("start-seconds", &options.ranks.start_deadline_s, "s", "for all ranks to start")
      .above(0);
  table
      .add("batch-seconds", &options.ranks.batch_deadline_s, "s",
           "longest computation; a rank that takes longer is taken for hung")
      .above(0);
  table
      .add("request-memory-mib", &arena_mib, "MiB",
           "for rows of requests and answers, and as much for bodies")
      .at_least(1);
  table
      .add("arriving-percent", &arriving, "%",
           "of request-memory-mib, for rows that are still arriving; beyond, clients get 503")
      .at_least(1)
      .at_most(100);
  table
      .add(
          "arriving-percent-per-client", &arriving_per_client, "%",
          "the same for one key, or address without a key, and for its bodies; beyond, it gets 429")
      .at_least(1)
      .at_most(100);
  table.group("Set by `phalanx train --then-serve`");
  std::int64_t announce = -1;
  table.add("attached-ranks", &parsed.attached, "", "ranks that come by themselves").at_least(0);
  table.add("attached-nodes", &parsed.attached_nodes, "", "that they run on").at_least(1);
  table.add("announce-descriptor", &announce, "", "gets the address for them");
  table.accept_config_file();
  table.add_check([&](const OptionTable& t) {
    if (options.repository.empty() && parsed.attached == 0)
      t.refuse("repository", "expected a folder made by `phalanx publish`");
    if (!parsed.launch.empty() && parsed.ranks == 0)
      t.refuse("ranks", "launch starts ranks of its own: expected how many");
    if (options.http.certificate.empty() != options.http.key.empty())
      t.refuse(options.http.key.empty() ? "certificate" : "key",
               "certificate and key come together");
  });
  const CliAction action = table.parse(arguments);
  if (action != CliAction::kRun) {
    if (is_first) fmt::print("{}", action == CliAction::kHelp ? table.help() : table.dump());
    return std::nullopt;
  }
  options.http.port = static_cast<int>(port);
  options.http.most_body_bytes = static_cast<std::size_t>(body_mib) << 20;
  options.http.most_connections = static_cast<std::size_t>(most_connections);
  options.http.most_connections_per_client = static_cast<std::size_t>(per_client);
  options.arena_bytes = static_cast<std::size_t>(arena_mib) << 20;
  const auto share = [&](std::int64_t percent) {
    return options.arena_bytes / 100 * static_cast<std::size_t>(percent);
  };
  options.http.most_buffered_bytes = options.arena_bytes;
  options.http.most_buffered_bytes_per_client = share(arriving_per_client);
  options.http.most_expected_bytes = share(arriving);
  options.http.most_expected_bytes_per_client = share(arriving_per_client);
  options.ranks.attached_ranks = static_cast<int>(parsed.attached);
  options.announce_descriptor = static_cast<int>(announce);
  return parsed;
}

}  // namespace

std::string own_program() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) throw IoError("cannot find the path of this program");
  return {path.data(), static_cast<std::size_t>(size)};
}

ExitCode serve_command(int& argc, char**& argv, Arguments arguments) {
  // What can be told without MPI, which takes half a second to start, is told before; by one of the processes only.
  const std::optional<LaunchPlace> place = launch_place();
  const bool is_first = !place || place->rank == 0;
  std::optional<ServeArguments> parsed;
  try {
    parsed = parse_serve(arguments, is_first);
  } catch (const ConfigError&) {
    if (is_first) throw;
  }
  if (!parsed) return ExitCode::kDone;
  FrontOptions& options = parsed->front;
  if (parsed->is_check) return is_first ? print_check(check_serving(options)) : ExitCode::kDone;
  const RankLayout layout = layout_of_job(argc, argv);
  if (layout.rank != 0) return ExitCode::kDone;
  configure_log(LogLevel::kInfo, 0, 1);
  const std::int64_t ranks = parsed->ranks > 0 ? parsed->ranks : layout.size;
  options.ranks.ranks = static_cast<int>(ranks);
  if (parsed->attached > 0) options.ranks.token = FrontAddress::token_from_environment();
  options.ranks.program = own_program();
  std::string launch = parsed->launch;
  const bool is_launched = !launch.empty();
  if (!is_launched && ranks > 1) launch = mpirun_of(layout, ranks);
  options.ranks.launch = launch_of(launch);
  options.ranks.host = layout.host;
  options.ranks.spans_hosts = layout.nodes > 1 || parsed->attached_nodes > 1 || is_launched;
  serve_front(options);
  return ExitCode::kDone;
}

ExitCode serve_rank_command(MpiRuntime& mpi, Arguments arguments) {
  SessionOptions options{.progress = "inline"};
  OptionTable table("phalanx serve-rank [options]    (started by `phalanx serve`)");
  add_device_options(table, options.device, options.threads);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  const auto front = FrontAddress::from_environment();
  require<ConfigError>(front.has_value(), "serve-rank is started by `phalanx serve`");
  // Schedulers send this to every process of a job. The front end ends the ranks when their work is done, and a rank whose
  // front end is gone ends by itself.
  ::signal(SIGTERM, SIG_IGN);
  Session session(mpi, options);
  serve_rank(*front, session.layout);
  return ExitCode::kDone;
}

ExitCode publish_command(MpiRuntime& mpi, Arguments arguments) {
  PublishOptions options;
  OptionTable table("phalanx publish --checkpoint FILE --repository FOLDER --name NAME [options]");
  table.add("checkpoint", &options.checkpoint, "path", "made by `phalanx train`").required();
  table.add("repository", &options.repository, "path", "folder of models; made if it is missing")
      .required();
  table.add("name", &options.name, "", "of the model").required();
  table.add("version", &options.version, "", "0: the highest so far plus one").at_least(0);
  table.add("threshold", &options.threshold, "", "binary answers: least probability of a 1")
      .at_least(0)
      .at_most(1);
  if (!parse_or_print(table, mpi, arguments)) return ExitCode::kDone;
  if (mpi.rank() != 0) return ExitCode::kDone;
  const Published published = publish(options);
  const Manifest& m = published.manifest;
  fmt::print("published version {} of '{}'\n", m.version, m.name);
  print_line("folder", published.folder);
  print_line("task", name(m.task));
  print_line("input", fmt::format("f32 [-1, {}", m.input.shape.str().substr(1)));
  print_line("output", fmt::format("f32 [-1, {}", m.output.shape.str().substr(1)));
  for (const auto& [metric, value] : m.metrics) print_line(metric, fmt::format("{:.6g}", value));
  print_line("sha256", m.files.at(kWeightsFile).sha256);
  return ExitCode::kDone;
}

}  // namespace phalanx
