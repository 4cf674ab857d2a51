// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <utility>

#include "comm/device_communicator.hpp"
#include "comm/rank_layout.hpp"
#include "core/error.hpp"
#include "core/log.hpp"

namespace phalanx {
namespace {

using Clock = std::chrono::steady_clock;

// Of one stage: long enough that the host's sum outweighs the start of two copies, short enough that the first download and
// the last upload, beside which nothing is summed, do not.
constexpr std::size_t kStageBytes = std::size_t{4} << 20;

/// Host memory that one piece passes through: down, summed, up. The stream keeps this order, so the next piece comes down when
/// the one before has gone up.
struct Stage {
  Stage(std::byte* of_host, std::size_t size_bytes, Device device)
      : memory(of_host), stream(device), is_up(device), pin(of_host, size_bytes, device) {}

  std::byte* memory;
  Stream stream;
  Event is_up;
  Pin pin;
};

class StagedCommunicator final : public DeviceCommunicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> host, Device device)
      : DeviceCommunicator(std::move(host), device),
        // A block of the longest elements from each rank fits in.
        stage_bytes_(std::max(
            kStageBytes, static_cast<std::size_t>(size()) * kPartBlock * sizeof(std::int64_t))) {
    if (size() == 1) return;
    // Of the host communicator, so that ranks of a node sum where they all see it.
    for (std::unique_ptr<Stage>& stage : stages_)
      stage =
          std::make_unique<Stage>(this->host().allocate(stage_bytes_, cpu()), stage_bytes_, device);
    if (!stages_[0]->pin.holds())
      log_warning("the GPU cannot pin host memory: sums over ranks take longer copies");
  }
  ~StagedCommunicator() override {
    for (const std::unique_ptr<Stage>& stage : stages_) {
      if (!stage) continue;
      try {
        stage->stream.synchronize();  // before its memory is let go
      } catch (const Error& e) {
        log_error("at the end of a communicator: {}", e.what());
      }
    }
  }

  void poll() override { host().poll(); }
  void abort() noexcept override { host().abort(); }

 private:
  struct Job {
    DeviceCall call;
    std::unique_ptr<Event> is_ready;  // what was enqueued before the call
    RequestTimes times{};
  };

  void start(DeviceCall call) override {
    Job job{std::move(call), take_event()};
    job.times.queued = Clock::now();
    job.is_ready->record(*job.call.stream);
    jobs_.push_back(std::move(job));
  }

  RequestTimes wait_for(std::uint64_t number) override {
    while (!jobs_.empty() && jobs_.front().call.number <= number) run_first();
    const auto found = finished_.find(number);
    if (found == finished_.end()) {
      poll();  // it may have failed
      refuse_request(number);
    }
    const RequestTimes times = found->second;
    finished_.erase(found);
    return times;
  }

  void before_host_call() override {
    while (!jobs_.empty()) run_first();
  }

  void run_first() {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    job.times.begun = Clock::now();
    if (size() == 1) {
      run_alone(job.call);
    } else {
      for (const std::unique_ptr<Stage>& stage : stages_) job.is_ready->hold(stage->stream);
      run(job);
      for (const std::unique_ptr<Stage>& stage : stages_) {
        stage->is_up.record(stage->stream);
        stage->is_up.hold(*job.call.stream);
      }
    }
    job.times.ended = Clock::now();
    finished_[job.call.number] = job.times;
    idle_events_.push_back(std::move(job.is_ready));
  }

  // Nothing leaves the device.
  static void run_alone(const DeviceCall& call) {
    if (call.kind == Collective::kAllGather && call.data.data != call.mine.data)
      copy_bytes(call.mine.as<std::byte>(), call.data.as<std::byte>(), call.mine.type.size_bytes(),
                 *call.stream);
  }

  void run(Job& job) {
    switch (job.call.kind) {
      case Collective::kAllReduce: return all_reduce_stages(job);
      case Collective::kBroadcast: return broadcast_stages(job);
      case Collective::kAllGather: return all_gather_stages(job);
      case Collective::kReduceScatter:
      case Collective::kAllGatherParts: return stages_of_parts(job);
    }
  }

  /// For every round: download(round, stage), then on_host(round, stage), then upload(round, stage). While the host is busy
  /// with one round, the device may upload the one before and download the next.
  template <class Download, class OnHost, class Upload>
  void for_rounds(std::int64_t rounds, Job& job, Download download, OnHost on_host, Upload upload) {
    const auto stage = [&](std::int64_t round) -> Stage& {
      return *stages_[static_cast<std::size_t>(round) % stages_.size()];
    };
    download(0, stage(0));
    for (std::int64_t round = 0; round < rounds; ++round) {
      if (round + 1 < rounds) download(round + 1, stage(round + 1));
      stage(round).stream.synchronize();
      if (round == 0) job.times.begun = Clock::now();
      on_host(round, stage(round));
      upload(round, stage(round));
    }
  }

  // Rounds of `most` out of `count`; one at least, for an empty collective is a call too.
  static std::int64_t rounds_of(std::int64_t count, std::int64_t most) {
    return std::max<std::int64_t>((count + most - 1) / most, 1);
  }

  std::int64_t elements_of_stage(DType type) const {
    return static_cast<std::int64_t>(stage_bytes_ / size_bytes(type));
  }

  static void download(const std::byte* from, std::byte* to, std::size_t bytes, Stage& stage) {
    phalanx::download(from, {to, bytes}, stage.stream);
  }
  static void upload(const std::byte* from, std::byte* to, std::size_t bytes, Stage& stage) {
    phalanx::upload({from, bytes}, to, stage.stream);
  }

  void all_reduce_stages(Job& job) {
    const TensorView data = job.call.data;
    const DType type = data.type.dtype;
    const std::int64_t most = elements_of_stage(type);
    const auto piece = [&](std::int64_t round) -> TensorView {
      const std::int64_t begin = round * most;
      return {data.as<std::byte>() + static_cast<std::size_t>(begin) * size_bytes(type),
              {type, Shape{std::min(most, data.numel() - begin)}}};
    };
    for_rounds(
        rounds_of(data.numel(), most), job,
        [&](std::int64_t round, Stage& stage) {
          download(piece(round).as<std::byte>(), stage.memory, piece(round).type.size_bytes(),
                   stage);
        },
        [&](std::int64_t round, Stage& stage) {
          host().wait(host().start_all_reduce({stage.memory, piece(round).type}, job.call.op, cpu(),
                                              job.call.label));
        },
        [&](std::int64_t round, Stage& stage) {
          upload(stage.memory, piece(round).as<std::byte>(), piece(round).type.size_bytes(), stage);
        });
  }

  void broadcast_stages(Job& job) {
    const bool is_root = job.call.root == rank();
    auto* data = job.call.data.as<std::byte>();
    const auto bytes = static_cast<std::int64_t>(job.call.data.type.size_bytes());
    const auto most = static_cast<std::int64_t>(stage_bytes_);
    const auto size_of = [&](std::int64_t round) { return std::min(most, bytes - round * most); };
    for_rounds(
        rounds_of(bytes, most), job,
        [&](std::int64_t round, Stage& stage) {
          if (is_root) download(data + round * most, stage.memory, size_of(round), stage);
        },
        [&](std::int64_t round, Stage& stage) {
          host().broadcast({stage.memory, {DType::kU8, Shape{size_of(round)}}}, job.call.root,
                           cpu());
        },
        [&](std::int64_t round, Stage& stage) {
          if (!is_root) upload(stage.memory, data + round * most, size_of(round), stage);
        });
  }

  // A stage holds what comes from all ranks, and before it what this one brings.
  void all_gather_stages(Job& job) {
    const auto* mine = job.call.mine.as<std::byte>();
    auto* all = job.call.data.as<std::byte>();
    const auto bytes = static_cast<std::int64_t>(job.call.mine.type.size_bytes());
    const auto most = static_cast<std::int64_t>(stage_bytes_) / (size() + 1);
    const auto size_of = [&](std::int64_t round) { return std::min(most, bytes - round * most); };
    for_rounds(
        rounds_of(bytes, most), job,
        [&](std::int64_t round, Stage& stage) {
          download(mine + round * most, stage.memory, size_of(round), stage);
        },
        [&](std::int64_t round, Stage& stage) {
          host().all_gather({stage.memory, {DType::kU8, Shape{size_of(round)}}},
                            {stage.memory + size_of(round),
                             {DType::kU8, Shape{std::int64_t{size()}, size_of(round)}}},
                            cpu());
        },
        [&](std::int64_t round, Stage& stage) {
          for (int r = 0; r < size(); ++r)
            upload(stage.memory + (r + 1) * size_of(round), all + r * bytes + round * most,
                   size_of(round), stage);
        });
  }

  /// reduce_scatter and all_gather of parts. Every round takes as many blocks from each part, or what is left of it, and packs
  /// them: the parts of the packed vector are then the pieces, since both are cut alike.
  void stages_of_parts(Job& job) {
    const bool reduces = job.call.kind == Collective::kReduceScatter;
    const TensorView data = job.call.data;
    const DType type = data.type.dtype;
    const std::size_t element = size_bytes(type);
    const std::int64_t most =
        elements_of_stage(type) / (size() * kPartBlock) * kPartBlock;  // of one part
    const std::int64_t rounds = rounds_of(part_of(data.numel(), 0, size()).size(), most);
    struct Piece {
      std::byte *on_device, *on_host;
      std::int64_t count;
      std::size_t bytes;
    };
    // Those before `end` in the vector that is packed in the stage.
    const auto for_pieces = [&](std::int64_t round, const Stage& stage, auto f) {
      std::byte* on_host = stage.memory;
      for (int r = 0; r < size(); ++r) {
        const Range part = part_of(data.numel(), r, size());
        const std::int64_t begin = std::min(part.begin + round * most, part.end),
                           count = std::min(most, part.end - begin);
        const Piece piece{data.as<std::byte>() + static_cast<std::size_t>(begin) * element, on_host,
                          count, static_cast<std::size_t>(count) * element};
        f(r, piece);
        on_host += piece.bytes;
      }
    };
    for_rounds(
        rounds, job,
        [&](std::int64_t round, Stage& stage) {
          if (reduces && rounds == 1)  // one copy: the parts stand one behind the other
            return download(data.as<std::byte>(), stage.memory, data.type.size_bytes(), stage);
          for_pieces(round, stage, [&](int r, const Piece& p) {
            if (reduces || r == rank()) download(p.on_device, p.on_host, p.bytes, stage);
          });
        },
        [&](std::int64_t round, Stage& stage) {
          std::int64_t count = 0;
          for_pieces(round, stage, [&](int, const Piece& p) { count += p.count; });
          const TensorView packed{stage.memory, {type, Shape{count}}};
          host().wait(reduces
                          ? host().start_reduce_scatter(packed, job.call.op, cpu(), job.call.label)
                          : host().start_all_gather(packed, cpu(), job.call.label));
        },
        [&](std::int64_t round, Stage& stage) {
          if (!reduces && rounds == 1)
            return upload(stage.memory, data.as<std::byte>(), data.type.size_bytes(), stage);
          for_pieces(round, stage, [&](int r, const Piece& p) {
            if (reduces == (r == rank())) upload(p.on_host, p.on_device, p.bytes, stage);
          });
        });
  }

  std::unique_ptr<Event> take_event() {
    if (idle_events_.empty()) return std::make_unique<Event>(device());
    std::unique_ptr<Event> event = std::move(idle_events_.back());
    idle_events_.pop_back();
    return event;
  }

  std::size_t stage_bytes_;
  std::array<std::unique_ptr<Stage>, 2> stages_;    // null for one rank
  std::deque<Job> jobs_;                            // started, in their order
  std::map<std::uint64_t, RequestTimes> finished_;  // and not yet waited for
  std::vector<std::unique_ptr<Event>> idle_events_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> host,
                                                       Device device) {
  return std::make_unique<StagedCommunicator>(std::move(host), device);
}

}  // namespace phalanx
