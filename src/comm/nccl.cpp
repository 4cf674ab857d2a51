// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl.hpp"

#include <fmt/format.h>

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <exception>
#include <map>
#include <utility>

#include "comm/device_communicator.hpp"
#include "comm/gather_texts.hpp"
#include "comm/rank_layout.hpp"
#include "core/error.hpp"
#include "core/log.hpp"
#include "device/backend.hpp"
#include "device/device_graph.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;
using nccl::Result;

constexpr int kYields = 200;                     // looks before the first sleep
constexpr long kSleepNs = 20'000;                // between later looks
constexpr double kSecondsBetweenNews = 0.05;     // of the ranks that start NCCL
constexpr int kMostOperations = 1024;            // of a group: NCCL takes 2048
constexpr std::size_t kMostUnmeasured = 10'000;  // requests waited for without any synchronize()

void pause(int look) {
  if (look < kYields) {
    sched_yield();
  } else {
    const timespec time{0, kSleepNs};
    nanosleep(&time, nullptr);
  }
}

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

Clock::duration duration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

nccl::Type type_of(DType type) {
  switch (type) {
    case DType::kF32: return nccl::Type::kFloat32;
    case DType::kBf16: return nccl::Type::kBfloat16;
    case DType::kI64: return nccl::Type::kInt64;
    case DType::kI32: return nccl::Type::kInt32;
    case DType::kU8: break;
  }
  return nccl::Type::kInt8;
}

nccl::Op op_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return nccl::Op::kSum;
    case ReduceOp::kMax: return nccl::Op::kMax;
    case ReduceOp::kMin: break;
  }
  return nccl::Op::kMin;
}

/// What was given to the GPU together.
struct Work {
  Work(Device device, Event::Clock with) : clock(with), begin(device, with), end(device, with) {}

  const Event::Clock clock;  // kNone: it was captured, and has no times
  std::string name;          // of its first call
  Event begin, end;
  std::optional<Clock::time_point> seen;  // to run, by the host
};

class NcclCommunicator final : public DeviceCommunicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, std::shared_ptr<const NcclLibrary> library,
                   const NcclOptions& options)
      : DeviceCommunicator(std::move(host), options.device),
        library_(std::move(library)),
        who_(fmt::format("rank {} on {}", rank(), options.host)),
        deadline_seconds_(options.deadline_seconds),
        stream_(options.device),  // from here on its device is this thread's, which NCCL takes
        is_ready_(options.device),
        is_synchronized_(options.device, Event::Clock::kDevice) {
    require(deadline_seconds_ > 0,
            fmt::format("expected a deadline above 0 s, found {}", deadline_seconds_));
    try {
      start_nccl();
    } catch (...) {
      abort_nccl();
      throw;
    }
  }

  ~NcclCommunicator() override {
    if (comm_ == nullptr) return;
    if (!failure_.empty() || std::uncaught_exceptions() > exceptions_ || !finalize()) {
      abort_nccl();
    } else if (library_->comm_destroy(comm_) != Result::kSuccess) {
      log_error("NCCL did not end cleanly");
    }
  }

  void begin_group() override {
    require(!in_group_, "a group of collectives was begun within another");
    in_group_ = true;
    group_operations_ = 0;
  }

  void end_group() override {
    require(in_group_, "a group of collectives was ended and none begun");
    in_group_ = false;
    if (!group_.empty()) launch(std::exchange(group_, {}));
  }

  void synchronize(Stream& stream) override {
    if (stream.device().kind == DeviceKind::kCpu) return host().synchronize(stream);
    is_synchronized_.record(stream);
    for (int look = 0; !stream.is_done(); ++look) {
      poll();
      watch();
      pause(look);
    }
    const Clock::time_point now = Clock::now();
    poll();
    measure(now);
  }

  bool can_be_captured() const noexcept override { return true; }

  /// NCCL may end a communicator only once no graph holds collectives of it, and waits for that.
  void launch(const std::shared_ptr<DeviceGraph>& graph, Stream& stream) override {
    in_capture_ = false;
    poll();
    std::erase_if(graphs_, [](const auto& known) { return known.expired(); });
    graphs_.push_back(graph);
    const std::shared_ptr<Work> work = take_work();
    work->name = fmt::format("launch #{} of captured collectives", ++launches_);
    work->begin.record(stream);
    graph->launch(stream);
    work->end.record(stream);
    running_.push_back(work);
  }

  void poll() override {
    if (!failure_.empty()) throw CommError(failure_);
    host().poll();
    const Result state = this->state();
    if (state != Result::kSuccess && state != Result::kInProgress)
      fail(fmt::format("{}: NCCL failed{}: {}", who_, where(), library_->text(state)));
  }

  void abort() noexcept override {
    if (failure_.empty()) failure_ = fmt::format("{} was aborted", who_);
    abort_nccl();
    host().abort();
  }

 private:
  struct Started {
    std::shared_ptr<Work> work;  // null: in a group that has not ended
    Stream* stream;
    Clock::time_point queued;
  };
  struct Waited {
    std::uint64_t number;
    std::shared_ptr<Work> work;
    Clock::time_point queued;
  };

  // --- start and end

  /// Ranks tell each other how far they are again and again, by the host communicator: so all stop when one has failed, and
  /// none waits for one that never will be there.
  void start_nccl() {
    const std::vector<std::string> names = gather_texts(who_, host(), cpu());
    nccl::UniqueId id{};
    std::string failure;
    if (rank() == 0) failure = failure_of("ncclGetUniqueId", library_->get_unique_id(&id));
    stop_if_any(failure);
    host().broadcast({&id, {DType::kU8, Shape{std::int64_t{sizeof id}}}}, 0, cpu());
    nccl::Config config;
    failure = failure_of("ncclCommInitRankConfig",
                         library_->comm_init_rank_config(&comm_, size(), id, rank(), &config));
    const Clock::time_point begun = Clock::now();
    while (true) {
      bool is_ready = false;
      const Clock::time_point news = Clock::now();
      for (int look = 0; failure.empty() && !is_ready; ++look) {
        const Result state = this->state();
        is_ready = state == Result::kSuccess;
        failure = failure_of("the start of NCCL", state);
        if (seconds_since(news) > kSecondsBetweenNews) break;
        pause(look);
      }
      enum : std::int64_t { kReady, kStarting, kLate, kFailed };
      const std::int64_t mine = !failure.empty()                           ? kFailed
                                : is_ready                                 ? kReady
                                : seconds_since(begun) > deadline_seconds_ ? kLate
                                                                           : kStarting;
      std::vector<std::int64_t> all(static_cast<std::size_t>(size()));
      host().all_gather({&mine, {DType::kI64, Shape{1}}},
                        {all.data(), {DType::kI64, Shape{std::int64_t{size()}, 1}}}, cpu());
      const std::int64_t worst = *std::ranges::max_element(all);
      if (worst == kReady) return;
      if (worst == kFailed) stop_if_any(failure);
      if (worst == kLate) stop_late(names, all, begun);
    }
  }

  void stop_if_any(const std::string& failure) {
    for (const std::string& text : gather_texts(failure, host(), cpu()))
      if (!text.empty()) stop("NCCL could not start: " + text);
  }

  template <class States>
  [[noreturn]] void stop_late(const std::vector<std::string>& names, const States& states,
                              Clock::time_point begun) {
    std::string missing;
    for (std::size_t r = 0; r < names.size(); ++r)
      if (states[r] != 0) missing += (missing.empty() ? "" : ", ") + names[r];
    stop(fmt::format("{} waited {:.1f} s for NCCL to start; not ready: {}", who_,
                     seconds_since(begun), missing));
  }

  [[noreturn]] static void stop(const std::string& text) {
    log_error("{}", text);
    throw CommError(text);
  }

  std::string failure_of(std::string_view call, Result result) const {
    if (result == Result::kSuccess || result == Result::kInProgress) return {};
    return fmt::format("{}: {} failed: {}", who_, call, library_->text(result));
  }

  bool finalize() noexcept {
    try {
      const Clock::time_point begun = Clock::now();
      const Result result = library_->comm_finalize(comm_);
      if (result != Result::kSuccess && result != Result::kInProgress) return false;
      Result state = this->state();
      for (int look = 0; state == Result::kInProgress && seconds_since(begun) < deadline_seconds_;
           ++look) {
        pause(look);
        state = this->state();
      }
      return state == Result::kSuccess;
    } catch (const Error&) {
      return false;
    }
  }

  void abort_nccl() noexcept {
    if (comm_ == nullptr) return;
    for (const std::weak_ptr<DeviceGraph>& known : graphs_)
      if (const auto graph = known.lock()) graph->reset();
    (void)library_->comm_abort(std::exchange(comm_, nullptr));
  }

  // --- errors

  Result state() const {
    if (comm_ == nullptr) return Result::kSuccess;
    Result state = Result::kSuccess;
    const Result result = library_->comm_get_async_error(comm_, &state);
    return result == Result::kSuccess ? state : result;
  }

  [[noreturn]] void fail(const std::string& text) {
    failure_ = text;
    if (!in_capture_)
      abort_nccl();  // it would wait for the end of the capture; the destructor does it
    stop(text);
  }

  // " in all_reduce #4121 (bucket 7)": what the GPU is in.
  std::string where() {
    forget_ended();
    return running_.empty() ? "" : " in " + running_.front()->name;
  }

  void forget_ended() {
    while (!in_capture_ && !running_.empty() && running_.front()->end.is_past())
      running_.pop_front();
  }

  /// The deadline is for what the GPU is in, not for what is before it in the caller's stream.
  void watch() {
    forget_ended();
    if (running_.empty()) return;
    Work& work = *running_.front();
    if (!work.seen && work.begin.is_past()) work.seen = Clock::now();
    if (work.seen && seconds_since(*work.seen) > deadline_seconds_)
      fail(fmt::format("{} waited {:.1f} s in {}", who_, seconds_since(*work.seen), work.name));
  }

  // --- collectives

  void start(DeviceCall call) override {
    poll();
    started_[call.number] = {nullptr, call.stream, Clock::now()};
    if (in_group_) {
      require(group_.empty() || group_.front().stream == call.stream,
              "the collectives of a group are on one stream");
      group_operations_ += operations_of(call);
      if (group_operations_ > kMostOperations && !group_.empty()) {
        launch(std::exchange(group_, {}));
        group_operations_ = operations_of(call);
      }
      group_.push_back(std::move(call));
      return;
    }
    launch({std::move(call)});
  }

  void launch(std::vector<DeviceCall> calls) {
    in_capture_ = calls.front().stream->is_captured();
    const std::shared_ptr<Work> work = take_work();
    work->name = calls.front().str();
    is_ready_.record(*calls.front().stream);
    is_ready_.hold(stream_);  // which joins the capture if there is one
    if (!in_capture_) work->begin.record(stream_);
    const Clock::time_point begun = Clock::now();
    Result first = library_->group_start();
    if (is_fine(first)) {
      for (const DeviceCall& call : calls)
        if (const Result result = enqueue(call); is_fine(first)) first = result;
      if (const Result result = library_->group_end(); is_fine(first)) first = result;
    }
    if (!is_fine(first))
      fail(fmt::format("{}: NCCL refused {}: {}", who_, work->name, library_->text(first)));
    for (int look = 0; state() == Result::kInProgress; ++look) {
      if (seconds_since(begun) > deadline_seconds_)
        fail(fmt::format("{} waited {:.1f} s for NCCL to enqueue {}", who_, seconds_since(begun),
                         work->name));
      pause(look);
    }
    work->end.record(stream_);
    if (!in_capture_) running_.push_back(work);
    for (const DeviceCall& call : calls) started_[call.number].work = work;
    poll();
  }

  static bool is_fine(Result result) {
    return result == Result::kSuccess || result == Result::kInProgress;
  }

  Result enqueue(const DeviceCall& call) const {
    const TensorView data = call.data;
    auto* bytes = data.as<std::byte>();
    const std::size_t size_bytes = data.type.size_bytes();
    const auto count = static_cast<std::size_t>(data.numel());
    if (count == 0) return Result::kSuccess;
    const nccl::Type type = type_of(data.type.dtype);
    void* queue = static_cast<BackendStream*>(stream_.handle())->queue;
    switch (call.kind) {
      case Collective::kAllReduce:
        return library_->all_reduce(bytes, bytes, count, type, op_of(call.op), comm_, queue);
      case Collective::kBroadcast:
        return library_->broadcast(bytes, bytes, size_bytes, nccl::Type::kInt8, call.root, comm_,
                                   queue);
      case Collective::kAllGather:
        return library_->all_gather(call.mine.data, bytes, call.mine.type.size_bytes(),
                                    nccl::Type::kInt8, comm_, queue);
      case Collective::kReduceScatter:
      case Collective::kAllGatherParts: break;
    }
    return enqueue_parts(call, queue);
  }

  bool has_equal_parts(std::int64_t count) const {
    return part_of(count, size() - 1, size()).size() * size() == count;
  }
  int operations_of(const DeviceCall& call) const {
    const bool is_of_parts =
        call.kind == Collective::kReduceScatter || call.kind == Collective::kAllGatherParts;
    return is_of_parts && !has_equal_parts(call.data.numel()) ? size() : 1;
  }

  Result enqueue_parts(const DeviceCall& call, void* queue) const {
    const bool reduces = call.kind == Collective::kReduceScatter;
    const std::int64_t count = call.data.numel();
    const std::size_t element = phalanx::size_bytes(call.data.type.dtype);
    const nccl::Type type = reduces ? type_of(call.data.type.dtype) : nccl::Type::kInt8;
    const auto units = [&](std::int64_t elements) {
      return static_cast<std::size_t>(elements) * (reduces ? 1 : element);
    };
    auto* bytes = call.data.as<std::byte>();
    const auto place = [&](int r) {
      return bytes + static_cast<std::size_t>(part_of(count, r, size()).begin) * element;
    };
    if (has_equal_parts(count)) {
      const std::size_t each = units(count / size());
      return reduces ? library_->reduce_scatter(bytes, place(rank()), each, type, op_of(call.op),
                                                comm_, queue)
                     : library_->all_gather(place(rank()), bytes, each, type, comm_, queue);
    }
    Result first = Result::kSuccess;
    for (int r = 0; r < size() && is_fine(first); ++r) {
      const std::size_t size = units(part_of(count, r, this->size()).size());
      if (size == 0) continue;
      first = reduces ? library_->reduce(place(r), place(r), size, type, op_of(call.op), r, comm_,
                                         queue)
                      : library_->broadcast(place(r), place(r), size, type, r, comm_, queue);
    }
    return first;
  }

  /// One that nobody refers to any more, for its events are costly to make.
  std::shared_ptr<Work> take_work() {
    forget_ended();
    const Event::Clock clock = in_capture_ ? Event::Clock::kNone : Event::Clock::kDevice;
    const auto idle = std::ranges::find_if(
        works_, [&](const auto& work) { return work.use_count() == 1 && work->clock == clock; });
    if (idle == works_.end()) return works_.emplace_back(std::make_shared<Work>(device(), clock));
    (*idle)->seen.reset();
    return *idle;
  }

  RequestTimes wait_for(std::uint64_t number) override {
    if (!failure_.empty()) throw CommError(failure_);
    const auto found = started_.find(number);
    if (found == started_.end()) refuse_request(number);
    const auto [work, stream, queued] = found->second;
    require(work != nullptr, "a request was waited for before its group ended");
    started_.erase(found);
    work->end.hold(*stream);
    if (waited_.size() == kMostUnmeasured) waited_.pop_front();
    if (work->clock != Event::Clock::kNone) waited_.push_back({number, work, queued});
    const Clock::time_point now = Clock::now();
    return {queued, now, now};
  }

  // --- times

  /// `now` is when the GPU came past is_synchronized_, or a moment later.
  void measure(Clock::time_point now) {
    measured_.clear();
    std::deque<Waited> later;
    for (Waited& waited : waited_) {
      if (!waited.work->end.is_past()) {  // another stream waits for it
        later.push_back(std::move(waited));
        continue;
      }
      const auto when = [&](const Event& event) {
        return now - duration(seconds_between(event, is_synchronized_));
      };
      RequestTimes times{waited.queued, when(waited.work->begin), when(waited.work->end)};
      times.begun = std::max(times.begun, times.queued);  // two clocks may differ a little
      times.ended = std::max(times.ended, times.begun);
      measured_[waited.number] = times;
    }
    waited_ = std::move(later);
  }

  std::optional<RequestTimes> measured_call(std::uint64_t number) override {
    const auto found = measured_.find(number);
    return found == measured_.end() ? std::nullopt : std::optional(found->second);
  }

  std::shared_ptr<const NcclLibrary> library_;
  std::string who_;  // "rank 3 on node2"
  double deadline_seconds_;
  Stream stream_;  // of the collectives
  Event is_ready_, is_synchronized_;
  nccl::Comm* comm_ = nullptr;
  std::string failure_;
  int exceptions_ = std::uncaught_exceptions();
  bool in_group_ = false;
  int group_operations_ = 0;
  bool in_capture_ = false;                         // what was launched last
  std::vector<std::weak_ptr<DeviceGraph>> graphs_;  // that were launched
  std::uint64_t launches_ = 0;
  std::vector<DeviceCall> group_;
  std::vector<std::shared_ptr<Work>> works_;   // all there are
  std::deque<std::shared_ptr<Work>> running_;  // on the GPU, in its order
  std::map<std::uint64_t, Started> started_;   // and not yet waited for
  std::deque<Waited> waited_;                  // since the last synchronize()
  std::map<std::uint64_t, RequestTimes> measured_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host,
                                                     std::shared_ptr<const NcclLibrary> library,
                                                     const NcclOptions& options) {
  return std::make_unique<NcclCommunicator>(std::move(host), std::move(library), options);
}

}  // namespace phalanx
