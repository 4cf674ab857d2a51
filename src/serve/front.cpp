// SPDX-License-Identifier: Apache-2.0
#include "serve/front.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <exception>
#include <numeric>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "serve/access_log.hpp"
#include "serve/gate.hpp"
#include "serve/http_stats.hpp"
#include "serve/inference_service.hpp"
#include "serve/protocol/dashboard.hpp"
#include "serve/protocol/health.hpp"
#include "serve/protocol/metrics.hpp"
#include "serve/protocol/open_inference.hpp"
#include "serve/protocol/openapi.hpp"
#include "serve/protocol/predict.hpp"
#include "serve/protocol/status.hpp"
#include "serve/registry.hpp"
#include "serve/router.hpp"

namespace phalanx {
namespace {

class Front {
 public:
  explicit Front(const FrontOptions& options)
      : options_(options),
        arena_(options.arena_bytes),
        log_(options.access_log),
        gate_(options.gate),
        group_(io_, arena_, options.ranks,
               {.on_up = [this] { ranks_are_up(); },
                .on_lost = [this](const std::string& why) { ranks_are_lost(why); },
                .on_given_up = [this](const std::string& why) { give_up(why); }}),
        dispatcher_(io_, group_),
        registry_(io_, options.repository.empty() ? Repository() : Repository(options.repository),
                  group_, dispatcher_),
        service_(io_, arena_, registry_, dispatcher_),
        http_(
            io_, aside_, options.http, [this](HttpExchange& x) { return handle(x); },
            [this](const HttpRecord& r) { answered(r); }),
        signals_(io_, SIGTERM, SIGINT),
        clock_(io_) {
    router_.add(health_routes([this] { return is_ready(); }));
    router_.add(predict_routes(service_));
    router_.add(open_inference_routes(
        service_, [this] { return is_ready(); }, options.http.most_body_bytes));
    router_.add(metrics_routes(view(), options_.triton_metrics));
    router_.add(status_routes(view()));
    router_.add(openapi_routes(router_, registry_, PHALANX_VERSION));
    router_.add(dashboard_routes());
  }

  void run() {
    ::signal(SIGPIPE, SIG_IGN);
    if (gate_.is_open())
      log_warning("no --keys are given: whoever reaches the server may use and change its models");
    http_.start();
    group_.start();
    announce();
    signals_.async_wait([this](auto error, int signal) {
      if (!error) drain(signal);
    });
    const int ranks = std::max(options_.ranks.ranks, options_.ranks.attached_ranks);
    log_info("serving {} on {}://{}:{}; {} rank{} start{}",
             options_.repository.empty() ? "what was trained" : options_.repository,
             http_.has_tls() ? "https" : "http", options_.http.address, http_.port(), ranks,
             ranks == 1 ? "" : "s", ranks == 1 ? "s" : "");
    tick();
    io_.run();
    log_.flush();
    if (!failure_.empty()) throw CommError(failure_);
  }

 private:
  bool is_ready() const { return is_loaded_ && !is_draining_ && registry_.is_ready(); }

  OperationView view() {
    return {.registry = registry_,
            .group = group_,
            .arena = arena_,
            .http = http_,
            .http_stats = stats_,
            .is_ready = [this] { return is_ready(); },
            .is_draining = [this] { return is_draining_; },
            .program_version = PHALANX_VERSION,
            .started = started_};
  }

  Awaitable<HttpResponse> handle(HttpExchange& exchange) {
    Router::Match match;
    std::exception_ptr unknown;
    try {
      match = router_.find(exchange.head());
      exchange.route = match.route->pattern;
    } catch (const Refusal&) {
      unknown = std::current_exception();
    }
    gate_.admit(exchange, unknown ? Access::kInfer : match.route->access, match.values);
    if (unknown) std::rethrow_exception(unknown);
    co_return co_await match.route->handle(exchange, match.values);
  }

  void answered(const HttpRecord& record) {
    stats_.add(record);
    log_.write(record);
  }

  // --- ranks

  void announce() {
    if (options_.announce_descriptor < 0) return;
    const std::string line = group_.address() + "\n";
    const ssize_t written = ::write(options_.announce_descriptor, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size()))
      throw IoError("cannot tell the ranks the address of the front end");
    ::close(options_.announce_descriptor);
  }

  void ranks_are_up() {
    log_info("{} rank{} ready{}", group_.ranks().size(),
             group_.ranks().size() == 1 ? " is" : "s are",
             group_.restarts() > 0 ? fmt::format(" again (restart {})", group_.restarts()) : "");
    registry_.ranks_are_up();
    if (!std::exchange(has_begun_, true)) begin();
  }

  void begin() {
    if (group_.in_place_manifest().empty()) return load_first();
    registry_.adopt(manifest_from_json(group_.in_place_manifest(), "rank 0"),
                    [this](const std::string& error) {
                      if (!error.empty()) return give_up(error);
                      is_loaded_ = true;
                      say_ready();
                    });
  }

  void load_first() {
    std::vector<std::string> models =
        options_.models.empty() ? registry_.repository().models() : options_.models;
    if (models.empty()) log_warning("{} holds no models yet", options_.repository);
    loading_ = models.size();
    is_loaded_ = models.empty();
    for (const std::string& model : models)
      registry_.load(model, [this, model](const std::string& error) {
        if (!error.empty()) log_error("model '{}': {}", model, error);
        is_loaded_ = --loading_ == 0;
        if (is_loaded_) say_ready();
      });
  }

  void say_ready() {
    for (const auto& [name, entry] : registry_.models())
      for (const auto& [number, v] : entry.versions)
        log_info("model '{}' version {} is {} ({}, {} per rank)", name, number,
                 phalanx::name(v->state), human_seconds(v->load_seconds),
                 human_bytes(v->memory_bytes));
    log_info("ready");
  }

  void ranks_are_lost(const std::string& why) {
    const bool are_started_again = options_.ranks.attached_ranks == 0 && !has_stopped_;
    log_error("{}{}", why, are_started_again ? "; the ranks are started again" : "");
    dispatcher_.refuse_all(are_started_again ? "the ranks are being started again"
                                             : "the ranks are gone");
    registry_.ranks_are_lost(why);
  }

  void give_up(const std::string& why) {
    failure_ = fmt::format("{}: the ranks do not stay, the server ends", why);
    io_.stop();
  }

  // --- end

  void drain(int signal) {
    is_draining_ = true;
    log_info("signal {}: taking no more requests", signal);
    drain_begin_ = ServeClock::now();
    await_second_signal();
  }

  /// Whoever asks again does not want to wait. Schedulers send a signal to all processes of a job, of which one may pass it on
  /// to this one: that is one question.
  void await_second_signal() {
    signals_.async_wait([this](auto error, int) {
      constexpr std::chrono::seconds kSame{2};
      if (error) return;
      if (ServeClock::now() - drain_begin_ > kSame) return io_.stop();
      await_second_signal();
    });
  }

  void tick() {
    clock_.expires_after(std::chrono::milliseconds(is_draining_ ? 20 : 250));
    clock_.async_wait([this](auto error) {
      if (error) return;
      log_.flush();
      gate_.refresh();
      if (is_draining_ && go_on_draining()) return;
      tick();
    });
  }

  /// True when all is over.
  bool go_on_draining() {
    const double waited = std::chrono::duration<double>(ServeClock::now() - drain_begin_).count();
    if (waited < options_.grace_seconds) return false;
    if (!std::exchange(has_stopped_, true)) {
      in_progress_ = http_.requests_in_progress();
      http_.stop_accepting();
      group_.stop_restarting();
    }
    const std::size_t left = http_.requests_in_progress();
    if (left > 0 && waited < options_.grace_seconds + options_.drain_seconds) return false;
    log_info(
        "drained in {}: {} requests answered in all, {} of them with 5xx; {} were in progress, {} "
        "were cut off",
        human_seconds(waited), stats_.requests, stats_.by_class[5], in_progress_, left);
    group_.shut_down();
    // The ranks end by themselves; they are not waited for longer than this.
    clock_.expires_after(std::chrono::milliseconds(500));
    clock_.async_wait([this](auto) { io_.stop(); });
    return true;
  }

  FrontOptions options_;
  std::chrono::system_clock::time_point started_ = std::chrono::system_clock::now();
  HttpStats stats_;
  // Before what runs in it: requests that the end cuts off give their places back when the io_context goes.
  SharedArena arena_;
  net::io_context io_{1};
  Aside aside_{io_};  // hands what is done to the io_context
  AccessLog log_;
  Gate gate_;
  RankGroup group_;
  Dispatcher dispatcher_;
  Registry registry_;
  InferenceService service_;
  Router router_;
  HttpServer http_;
  net::signal_set signals_;
  net::steady_timer clock_;
  bool has_begun_ = false, is_loaded_ = false, is_draining_ = false, has_stopped_ = false;
  std::size_t loading_ = 0, in_progress_ = 0;
  ServeClock::time_point drain_begin_;
  std::string failure_;
};

}  // namespace

void serve_front(const FrontOptions& options) { Front(options).run(); }

}  // namespace phalanx
