// SPDX-License-Identifier: Apache-2.0
#include "serve/rank_group.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstring>
#include <deque>
#include <map>
#include <thread>

#include "core/error.hpp"
#include "core/log.hpp"
#include "serve/json_file.hpp"
#include "serve/launch.hpp"
#include "serve/rank_link.hpp"
#include "serve/rank_server.hpp"
#include "serve/wire.hpp"

namespace phalanx {

using namespace std::chrono_literals;
using LocalStream = net::local::stream_protocol;
using Tcp = net::ip::tcp;

class RankGroup::State : public std::enable_shared_from_this<RankGroup::State> {
 public:
  State(net::io_context& io, SharedArena& arena, RankGroupOptions options, Listener listener)
      : io_(io),
        arena_(arena),
        options_(std::move(options)),
        listener_(std::move(listener)),
        unix_(io),
        tcp_(io),
        children_(io, SIGCHLD),
        clock_(io),
        again_(io) {
    front_.token = options_.token.empty() ? random_token() : options_.token;
    front_.unix_name = "phalanx-" + random_token().substr(0, 16);
    front_.host = options_.host;
  }

  void start() {
    listen();
    watch_children();
    tick();
    start_ranks();
  }

  void stop_restarting() {
    is_last_ = true;
    if (phase_ != Phase::kWaiting) return;
    phase_ = Phase::kGivenUp;
    again_.cancel();
  }

  void shut_down() {
    phase_ = Phase::kEnding;
    for (Connection& c : connections_)
      if (c.link) c.link->send(WireKind::kShutDown, {});
    stop_listening();
    again_.cancel();
    clock_.cancel();
  }

  /// Without waiting for anything: for the end of the process.
  void end_now() {
    phase_ = Phase::kEnding;
    stop_listening();
    drop_links();
    kill_ranks();
    connections_.clear();  // links hold this, which holds them
    boost::system::error_code ignored;
    children_.cancel(ignored);
    again_.cancel();
    clock_.cancel();
  }

  bool is_up() const noexcept { return phase_ == Phase::kUp; }
  const std::vector<Rank>& ranks() const noexcept { return ranks_; }
  std::uint64_t restarts() const noexcept { return restarts_; }
  const FrontAddress& front() const noexcept { return front_; }
  const std::string& in_place_manifest() const noexcept { return in_place_manifest_; }

  void load(const Loading& what, std::function<void(const Loaded&)> done) {
    if (!is_up()) return done({.error = "the ranks are not there"});
    const Json request = {{"handle", what.handle},
                          {"manifest", what.manifest},
                          {"folder", what.folder},
                          {"max_batch_size", what.max_batch_size}};
    loads_[what.handle] = {{}, static_cast<int>(connections_.size()), std::move(done)};
    const std::string text = request.dump();
    for (Connection& c : connections_) c.link->send_text(WireKind::kLoad, text);
  }

  void unload(std::uint64_t handle) {
    if (!is_up()) return;
    for (Connection& c : connections_)
      c.link->send(WireKind::kUnload, bytes_of(WireUnload{handle}));
  }

  void run(int rank, std::uint64_t handle, std::vector<Part> parts,
           std::function<void(const BatchResult&)> done) {
    if (!is_up()) return done({.is_lost = true, .error = {}});
    Connection& c = connections_[static_cast<std::size_t>(rank)];
    const std::uint64_t batch = next_batch_++;
    std::vector<std::byte> head =
        bytes_of(WireRun{batch, handle, static_cast<std::uint32_t>(parts.size())});
    std::vector<net::const_buffer> rows;
    std::int64_t count = 0;
    for (const Part& p : parts) {
      const auto part = bytes_of(WirePart{.input_offset = p.input->offset(),
                                          .output_offset = p.output->offset(),
                                          .rows = static_cast<std::uint32_t>(p.rows),
                                          .is_u8 = p.is_u8 ? 1u : 0u});
      head.insert(head.end(), part.begin(), part.end());
      if (!c.link->shares_memory()) rows.emplace_back(p.input->data(), p.input->size_bytes());
      count += p.rows;
    }
    Rank& r = ranks_[static_cast<std::size_t>(rank)];
    ++r.outstanding;
    ++r.batches;
    r.rows += static_cast<std::uint64_t>(count);
    auto keep = std::make_shared<std::vector<Part>>(std::move(parts));
    c.batches.push_back({batch, ServeClock::now(), keep, std::move(done)});
    c.link->send(WireKind::kRun, std::move(head), std::move(rows), keep);
  }

 private:
  enum class Phase { kStopped, kStarting, kUp, kWaiting, kEnding, kGivenUp };

  struct Batch {
    std::uint64_t id = 0;
    ServeClock::time_point begun;  // when it was the first that the rank had not answered
    std::shared_ptr<std::vector<Part>> parts;
    std::function<void(const BatchResult&)> done;
  };
  struct Connection {
    std::shared_ptr<RankLink> link;
    std::deque<Batch> batches;  // a rank answers in order
    ProcessHandle process;      // of a rank on this host
  };
  struct Stranger {
    std::shared_ptr<RankLink> link;
    ServeClock::time_point came;
  };
  struct Load {
    Loaded result;
    int missing = 0;
    std::function<void(const Loaded&)> done;
  };

  template <class T>
  static std::vector<std::byte> bytes_of(const T& value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    return {bytes, bytes + sizeof value};
  }

  // --- connections

  void listen() {
    const std::string name = std::string(1, '\0') + front_.unix_name;
    unix_.open(LocalStream());
    unix_.bind(LocalStream::endpoint(name));
    unix_.listen();
    accept(unix_, true);
    if (!options_.spans_hosts) return;
    const Tcp::endpoint any(Tcp::v4(), 0);
    tcp_.open(any.protocol());
    tcp_.bind(any);
    tcp_.listen();
    front_.port = tcp_.local_endpoint().port();
    accept(tcp_, false);
  }

  void stop_listening() {
    boost::system::error_code ignored;
    unix_.close(ignored);
    tcp_.close(ignored);
  }

  template <class Acceptor>
  void accept(Acceptor& acceptor, bool is_local) {
    acceptor.async_accept(
        [self = shared_from_this(), &acceptor, is_local](auto error, auto socket) {
          if (error == net::error::operation_aborted || !acceptor.is_open()) return;
          if (error) return self->accept_later(acceptor, is_local);
          if constexpr (std::is_same_v<decltype(socket), Tcp::socket>) {
            boost::system::error_code ignored;
            socket.set_option(Tcp::no_delay(true), ignored);
          }
          self->greet(RankLink::Socket(std::move(socket)), is_local);
          self->accept(acceptor, is_local);
        });
  }

  /// Out of descriptors: the connection stays in the queue, and asking again at once would turn in circles.
  template <class Acceptor>
  void accept_later(Acceptor& acceptor, bool is_local) {
    const auto pause = std::make_shared<net::steady_timer>(io_, 50ms);
    pause->async_wait([self = shared_from_this(), pause, &acceptor, is_local](auto) {
      if (acceptor.is_open()) self->accept(acceptor, is_local);
    });
  }

  /// Until its first message proves who it is, a connection is nobody. Of too many the one that is silent longest goes, so that
  /// nobody keeps ranks away.
  void greet(RankLink::Socket socket, bool is_local) {
    constexpr std::size_t kMostStrangers = 512;
    if (strangers_.size() >= kMostStrangers) dismiss(strangers_.front().link);
    const auto link = std::make_shared<RankLink>(std::move(socket), is_local);
    strangers_.push_back({link, ServeClock::now()});
    const std::weak_ptr<RankLink> weak = link;
    link->start(
        [self = shared_from_this(), weak](WireKind kind, const std::byte* bytes, std::size_t size) {
          if (const auto found = weak.lock()) self->take(found, kind, bytes, size);
        },
        [self = shared_from_this(), weak] {
          if (const auto found = weak.lock()) self->closed(found);
        });
  }

  /// False if it was none.
  bool forget_stranger(const std::shared_ptr<RankLink>& link) {
    return std::erase_if(strangers_, [&](const Stranger& s) { return s.link == link; }) > 0;
  }
  void dismiss(std::shared_ptr<RankLink> link) {
    forget_stranger(link);
    link->close();
  }

  void take(const std::shared_ptr<RankLink>& link, WireKind kind, const std::byte* bytes,
            std::size_t size) {
    const auto rank = std::ranges::find(connections_, link, &Connection::link);
    if (rank == connections_.end()) {
      if (kind != WireKind::kHello || !forget_stranger(link)) return dismiss(link);
      return hello(link, std::string(reinterpret_cast<const char*>(bytes), size));
    }
    if (kind == WireKind::kRan) return ran(rank - connections_.begin(), bytes, size);
    if (kind == WireKind::kLoaded)
      return loaded(std::string(reinterpret_cast<const char*>(bytes), size));
    if (kind == WireKind::kManifest && phase_ == Phase::kStarting) {
      in_place_manifest_.assign(reinterpret_cast<const char*>(bytes), size);
      awaits_manifest_ = false;
      return come_up();
    }
    lost("a rank sent what cannot be understood");
  }

  void hello(const std::shared_ptr<RankLink>& link, const std::string& text) {
    const Json hello = Json::parse(text, nullptr, false);
    const bool is_ours = hello.is_object() && hello.contains("token") &&
                         hello["token"].is_string() &&
                         equal_secrets(hello["token"].get<std::string>(), front_.token);
    if (!is_ours || phase_ != Phase::kStarting) return link->close();
    const auto rank = hello.at("rank").get<std::size_t>();
    if (rank >= connections_.size() || connections_[rank].link ||
        hello.at("size").get<std::size_t>() != connections_.size()) {
      link->close();  // it belongs to none of the ranks, which are dropped
      return lost(fmt::format("rank {} of {} came, expected each of {} once", rank,
                              hello.at("size").get<int>(), connections_.size()));
    }
    connections_[rank].link = link;
    link->trust();
    if (hello.at("has_manifest").get<bool>()) awaits_manifest_ = true;
    ranks_[rank] = {.node = hello.at("node").get<int>(),
                    .host = hello.at("host").get<std::string>(),
                    .device = hello.at("device").get<std::string>(),
                    .pid = hello.at("pid").get<std::int64_t>(),
                    .is_connected = true};
    if (ranks_[rank].host == options_.host)
      connections_[rank].process = ProcessHandle(ranks_[rank].pid);
    link->send_welcome({link->shares_memory() ? arena_.size_bytes() : 0}, arena_.descriptor());
    come_up();
  }

  /// If everything has come.
  void come_up() {
    if (awaits_manifest_ || !std::ranges::all_of(ranks_, &Rank::is_connected)) return;
    phase_ = Phase::kUp;
    up_since_ = ServeClock::now();
    has_answered_ = false;
    listener_.on_up();
  }

  void closed(const std::shared_ptr<RankLink>& link) {
    if (forget_stranger(link)) return;
    const auto rank = std::ranges::find(connections_, link, &Connection::link);
    if (rank == connections_.end()) return;
    ranks_[static_cast<std::size_t>(rank - connections_.begin())].is_connected = false;
    if (phase_ == Phase::kEnding) return;
    lost(fmt::format("rank {} is gone", rank - connections_.begin()));
  }

  // --- answers

  void ran(std::ptrdiff_t rank, const std::byte* bytes, std::size_t size) {
    Connection& c = connections_[static_cast<std::size_t>(rank)];
    WireRan ran;
    if (size < sizeof ran || c.batches.empty())
      return lost("a rank sent what cannot be understood");
    std::memcpy(&ran, bytes, sizeof ran);
    if (ran.batch != c.batches.front().id) return lost("a rank answered another batch");
    bytes += sizeof ran;
    size -= sizeof ran;
    const bool has_answers = ran.is_error == 0 && !c.link->shares_memory();
    if (has_answers && size != answer_bytes(c.batches.front()))
      return lost(fmt::format("a rank sent {} bytes of answers, expected {}", size,
                              answer_bytes(c.batches.front())));
    const Batch batch = std::move(c.batches.front());
    c.batches.pop_front();
    if (!c.batches.empty()) c.batches.front().begun = ServeClock::now();
    Rank& r = ranks_[static_cast<std::size_t>(rank)];
    --r.outstanding;
    r.busy += std::chrono::nanoseconds(ran.input_ns + ran.infer_ns + ran.output_ns);
    BatchResult result{false, {}, ran.input_ns, ran.infer_ns, ran.output_ns};
    if (ran.is_error != 0) result.error.assign(reinterpret_cast<const char*>(bytes), size);
    for (std::size_t i = 0; has_answers && i < batch.parts->size(); ++i) {
      const SharedBlock& output = (*batch.parts)[i].output;
      std::memcpy(output->data(), bytes, output->size_bytes());
      bytes += output->size_bytes();
    }
    has_answered_ = true;
    batch.done(result);
  }

  static std::size_t answer_bytes(const Batch& batch) {
    std::size_t bytes = 0;
    for (const Part& part : *batch.parts) bytes += part.output->size_bytes();
    return bytes;
  }

  void loaded(const std::string& text) {
    const Json answer = Json::parse(text);
    const auto found = loads_.find(answer.at("handle").get<std::uint64_t>());
    if (found == loads_.end()) return;
    Load& load = found->second;
    if (load.result.error.empty()) load.result.error = answer.at("error").get<std::string>();
    load.result.seconds = std::max(load.result.seconds, answer.at("seconds").get<double>());
    if (answer.contains("memory_bytes"))
      load.result.memory_bytes = answer["memory_bytes"].get<std::uint64_t>();
    if (--load.missing > 0) return;
    const Load done = std::move(load);
    loads_.erase(found);
    done.done(done.result);
  }

  // --- life of the ranks

  void start_ranks() {
    phase_ = Phase::kStarting;
    started_ = ServeClock::now();
    const int ranks = std::max(options_.ranks, options_.attached_ranks);
    connections_ = std::vector<Connection>(static_cast<std::size_t>(ranks));
    ranks_.assign(static_cast<std::size_t>(ranks), {});
    awaits_manifest_ = false;
    if (options_.attached_ranks > 0) return;
    std::vector<std::string> arguments = options_.launch;
    for (const std::string& word :
         {options_.program, std::string("serve-rank"), "--device=" + options_.device,
          fmt::format("--threads={}", options_.threads)})
      arguments.push_back(word);
    // Threads that have a core each wait actively for the next kernel, which begins a few microseconds later; to wake one takes
    // fifty. They spin for about twenty.
    const bool has_cores =
        options_.threads * ranks <= std::int64_t{std::thread::hardware_concurrency()};
    const auto environment = environment_for_job(
        {fmt::format("{}={}", kFrontAddressVariable, front_.text()),
         fmt::format("{}={}", kFrontTokenVariable, front_.token),
         fmt::format("OMP_NUM_THREADS={}", options_.threads), "OMP_WAIT_POLICY=passive",
         fmt::format("GOMP_SPINCOUNT={}", has_cores ? 2000 : 0)});
    try {
      job_ = start_process(arguments, environment);
    } catch (const IoError& e) {
      lost(e.what());
    }
  }

  void watch_children() {
    children_.async_wait([self = shared_from_this()](auto error, int) {
      if (error) return;
      int status = 0;
      if (self->job_ > 0 && ::waitpid(self->job_, &status, WNOHANG) == self->job_) {
        self->job_ = -1;
        if (self->phase_ == Phase::kStarting || self->phase_ == Phase::kUp)
          self->lost("the job of the ranks has ended");
      }
      self->watch_children();
    });
  }

  void tick() {
    clock_.expires_after(250ms);
    clock_.async_wait([self = shared_from_this()](auto error) {
      if (error) return;
      self->check_deadlines();
      self->tick();
    });
  }

  void check_deadlines() {
    const auto now = ServeClock::now();
    constexpr auto kForHello = 10s;
    while (!strangers_.empty() && now > strangers_.front().came + kForHello)
      dismiss(strangers_.front().link);
    const auto seconds = [](double s) {
      return std::chrono::duration_cast<ServeClock::duration>(std::chrono::duration<double>(s));
    };
    if (phase_ == Phase::kStarting && now > started_ + seconds(options_.start_deadline_s))
      return lost(fmt::format("not all ranks came within {} s", options_.start_deadline_s));
    if (phase_ != Phase::kUp) return;
    for (std::size_t rank = 0; rank < connections_.size(); ++rank) {
      const auto& batches = connections_[rank].batches;
      if (!batches.empty() && now > batches.front().begun + seconds(options_.batch_deadline_s))
        return lost(fmt::format("rank {} on {} has not answered for {} s", rank, ranks_[rank].host,
                                options_.batch_deadline_s));
    }
  }

  /// Everybody is told at once, then the ranks are started again: those that were of no use later and later, and not for ever.
  void lost(const std::string& why) {
    const std::chrono::duration<double> up = ServeClock::now() - up_since_;
    const bool was_of_use =
        phase_ == Phase::kUp && (has_answered_ || up.count() >= options_.settled_s);
    if (phase_ != Phase::kUp && phase_ != Phase::kStarting) return;
    phase_ = Phase::kWaiting;
    drop_links();
    kill_ranks();
    for (Rank& r : ranks_) r.is_connected = false, r.outstanding = 0;
    auto connections = std::exchange(connections_, {});
    for (Connection& c : connections)
      for (Batch& b : c.batches) b.done({.is_lost = true, .error = why});
    auto loads = std::exchange(loads_, {});
    for (auto& [handle, load] : loads) load.done({.error = why});
    listener_.on_lost(why);
    if (is_last_) {
      phase_ = Phase::kGivenUp;
      return;
    }
    constexpr int kMostFailures = 10;
    failures_ = was_of_use ? 0 : failures_ + 1;
    if (options_.attached_ranks > 0 || failures_ > kMostFailures) {
      phase_ = Phase::kGivenUp;
      return listener_.on_given_up(why);
    }
    ++restarts_;
    again_.expires_after(failures_ <= 1 ? 0ms : std::min(250ms * (1 << (failures_ - 2)), 8000ms));
    again_.async_wait([self = shared_from_this()](auto error) {
      if (!error && self->phase_ == Phase::kWaiting) self->start_ranks();
    });
  }

  void drop_links() {
    for (Connection& c : connections_)
      if (c.link) c.link->close();
    for (const Stranger& s : strangers_) s.link->close();
    strangers_.clear();
  }

  /// mpirun and what it started on this host, also where mpirun has ended before its ranks: they would still write answers into
  /// memory that others have by then. Ranks elsewhere end when their connection does.
  void kill_ranks() {
    if (options_.attached_ranks > 0) return;
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      ProcessHandle& process = connections_[i].process;
      // A rank whose connection has ended may be gone, and its number another's.
      if (process.is_exact() || ranks_[i].is_connected) process.kill();
    }
    if (job_ <= 0) return;
    ::kill(-job_, SIGKILL);
    int status = 0;
    ::waitpid(job_, &status, 0);
    job_ = -1;
  }

  net::io_context& io_;
  SharedArena& arena_;
  RankGroupOptions options_;
  Listener listener_;
  FrontAddress front_;
  std::string in_place_manifest_;
  LocalStream::acceptor unix_;
  Tcp::acceptor tcp_;
  net::signal_set children_;
  net::steady_timer clock_, again_;
  Phase phase_ = Phase::kStopped;
  ServeClock::time_point started_;
  pid_t job_ = -1;
  std::deque<Stranger> strangers_;  // in the order in which they came
  std::vector<Connection> connections_;
  std::vector<Rank> ranks_;
  std::map<std::uint64_t, Load> loads_;
  std::uint64_t next_batch_ = 1, restarts_ = 0;
  ServeClock::time_point up_since_;
  bool awaits_manifest_ = false;  // of the first rank's model
  bool has_answered_ = false;     // a batch, since the ranks came
  bool is_last_ = false;          // they are not started again
  int failures_ = 0;              // in a row
};

RankGroup::RankGroup(net::io_context& io, SharedArena& arena, RankGroupOptions options,
                     Listener listener)
    : state_(std::make_shared<State>(io, arena, std::move(options), std::move(listener))) {}
RankGroup::~RankGroup() { state_->end_now(); }

void RankGroup::start() { state_->start(); }
void RankGroup::stop_restarting() { state_->stop_restarting(); }
void RankGroup::shut_down() { state_->shut_down(); }
bool RankGroup::is_up() const noexcept { return state_->is_up(); }
const std::vector<RankGroup::Rank>& RankGroup::ranks() const noexcept { return state_->ranks(); }
std::uint64_t RankGroup::restarts() const noexcept { return state_->restarts(); }
std::string RankGroup::address() const { return state_->front().text(); }
const std::string& RankGroup::in_place_manifest() const noexcept {
  return state_->in_place_manifest();
}
void RankGroup::load(const Loading& what, std::function<void(const Loaded&)> done) {
  state_->load(what, std::move(done));
}
void RankGroup::unload(std::uint64_t handle) { state_->unload(handle); }
void RankGroup::run(int rank, std::uint64_t handle, std::vector<Part> parts,
                    std::function<void(const BatchResult&)> done) {
  state_->run(rank, handle, std::move(parts), std::move(done));
}

}  // namespace phalanx
