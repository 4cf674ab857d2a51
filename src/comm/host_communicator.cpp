// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "comm/checks.hpp"
#include "comm/progress_thread.hpp"
#include "comm/transport.hpp"
#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

std::span<std::byte> bytes_of(TensorView data) {
  return {static_cast<std::byte*>(data.data), data.type.size_bytes()};
}

void require_host(const Stream& stream) {
  require<Unsupported>(stream.device().kind == DeviceKind::kCpu,
                       fmt::format("this communicator works on host memory, found a stream on {}",
                                   name(stream.device().kind)));
}

class HostCommunicator final : public Communicator {
 public:
  HostCommunicator(std::unique_ptr<Transport> transport, Progress progress, double deadline_seconds)
      : transport_(std::move(transport)) {
    require(deadline_seconds > 0,
            fmt::format("expected a deadline above 0 s, found {}", deadline_seconds));
    caller_.rank = transport_->rank();
    caller_.host = transport_->host();
    caller_.deadline_seconds = deadline_seconds;
    caller_.group_cancelled = transport_->group_cancelled();
    if (progress == Progress::kThread && transport_->size() > 1) thread_.emplace();
  }
  ~HostCommunicator() override { stop(); }

  int rank() const noexcept override { return transport_->rank(); }
  int size() const noexcept override { return transport_->size(); }
  bool can_be_captured() const noexcept override { return size() == 1; }  // nothing is enqueued

  void all_reduce(TensorView data, ReduceOp op, Stream& stream) override {
    wait(start_all_reduce(data, op, stream, {}));
  }

  void broadcast(TensorView data, int root, Stream& stream) override {
    require_root(root, size());
    require_host(stream);
    wait(start("broadcast", {},
               [=, this](const Call& call) { transport_->broadcast(call, bytes_of(data), root); }));
  }

  void all_gather(ConstTensorView mine, TensorView all, Stream& stream) override {
    require_parts(all.type, mine.type, size());
    require_host(stream);
    const std::span in(static_cast<const std::byte*>(mine.data), mine.type.size_bytes());
    wait(start("all_gather", {}, [=, this](const Call& call) {
      transport_->all_gather(call, in, static_cast<std::byte*>(all.data));
    }));
  }

  Request start_all_reduce(TensorView data, ReduceOp op, Stream& stream,
                           std::string label) override {
    require_reducible(data.type);
    require_host(stream);
    return start("all_reduce", std::move(label),
                 [=, this](const Call& call) { transport_->all_reduce(call, data, op); });
  }

  Request start_reduce_scatter(TensorView data, ReduceOp op, Stream& stream,
                               std::string label) override {
    require_reducible(data.type);
    require_host(stream);
    return start("reduce_scatter", std::move(label),
                 [=, this](const Call& call) { transport_->reduce_scatter(call, data, op); });
  }

  Request start_all_gather(TensorView data, Stream& stream, std::string label) override {
    require_host(stream);
    return start("all_gather", std::move(label),
                 [=, this](const Call& call) { transport_->all_gather_parts(call, data); });
  }

  std::byte* allocate(std::size_t size_bytes, Stream& stream) override {
    require_host(stream);
    std::byte* shared = nullptr;
    wait(start("allocate", {},
               [&, this](const Call& call) { shared = transport_->allocate(call, size_bytes); }));
    std::byte* memory = shared ? shared : own_memory_.emplace_back(size_bytes, stream).data();
    std::fill_n(memory, size_bytes, std::byte{0});
    return memory;
  }

  RequestTimes wait(Request request) override {
    if (thread_) return thread_->wait(request);
    const auto found = finished_.find(request.id);
    require(found != finished_.end(),
            fmt::format("request {} was never started, or waited for twice", request.id));
    const RequestTimes times = found->second;
    finished_.erase(found);
    return times;
  }

  void barrier() override {
    wait(start("barrier", {}, [this](const Call& call) { transport_->barrier(call); }));
  }

  void poll() override {
    if (thread_) thread_->rethrow_failure();
    if (failure_) std::rethrow_exception(failure_);
  }

  void abort() noexcept override {
    stop();
    transport_->give_up();
    transport_->abort();
  }

  void* native_mpi() noexcept override { return transport_->native_mpi(); }

 private:
  template <class F>
  Request start(std::string_view operation, std::string label, F work) {
    poll();
    auto job = [this, operation, number = ++last_number_, label = std::move(label),
                work = std::move(work)] {
      try {
        work(Call{caller_, operation, number, label});
      } catch (...) {
        transport_->give_up();
        throw;
      }
    };
    return thread_ ? thread_->submit(std::move(job)) : run_here(job);
  }

  template <class Job>
  Request run_here(const Job& job) {
    const auto begun = Clock::now();
    try {
      job();
    } catch (...) {
      failure_ = std::current_exception();
      throw;
    }
    finished_[last_number_] = {begun, begun, Clock::now()};
    return {last_number_};
  }

  // A collective in flight leaves its wait at the next look at the flag.
  void stop() noexcept {
    caller_.cancelled = true;
    if (thread_) thread_->stop();
  }

  std::unique_ptr<Transport> transport_;
  Caller caller_;
  std::uint64_t last_number_ = 0;
  std::map<std::uint64_t, RequestTimes> finished_;  // inline only: done and not yet waited for
  std::exception_ptr failure_;                      // inline only
  std::vector<Buffer> own_memory_;                  // of allocate()
  std::optional<ProgressThread> thread_;            // last: its jobs use the rest
};

}  // namespace

bool Call::late() const noexcept {
  return std::chrono::duration<double>(Clock::now() - begun).count() > caller.deadline_seconds;
}

void Call::fail(std::string_view missing) const {
  const std::string where = label.empty() ? fmt::format("{} #{}", operation, number)
                                          : fmt::format("{} #{} ({})", operation, number, label);
  if (cancelled())
    throw CommError(
        fmt::format("rank {} on {} was aborted in {}", caller.rank, caller.host, where));
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  const std::string text = fmt::format("rank {} on {} waited {:.1f} s in {}; missing: {}",
                                       caller.rank, caller.host, seconds, where, missing);
  log_error("{}", text);
  throw CommError(text);
}

std::unique_ptr<Communicator> make_host_communicator(std::unique_ptr<Transport> transport,
                                                     Progress progress, double deadline_seconds) {
  return std::make_unique<HostCommunicator>(std::move(transport), progress, deadline_seconds);
}

}  // namespace phalanx
