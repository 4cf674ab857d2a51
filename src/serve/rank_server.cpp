// SPDX-License-Identifier: Apache-2.0
#include "serve/rank_server.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"
#include "serve/json_file.hpp"
#include "serve/rank_socket.hpp"
#include "serve/served_model.hpp"
#include "serve/shared_arena.hpp"
#include "serve/wire.hpp"

namespace phalanx {
namespace {

/// What a rank holds.
class RankServer {
 public:
  RankServer(const FrontAddress& front, const RankLayout& layout, InPlaceModel* in_place)
      : layout_(layout), in_place_(in_place), socket_(connect_to_front(front, layout.host)) {
    Json hello = {{"token", front.token}, {"rank", layout.rank},
                  {"size", layout.size},  {"node", layout.node},
                  {"host", layout.host},  {"device", name(layout.device.kind)},
                  {"pid", ::getpid()}};
    const bool has_manifest = in_place != nullptr && layout.rank == 0;
    hello["has_manifest"] = has_manifest;
    socket_.send_text(WireKind::kHello, hello.dump());
    if (has_manifest) socket_.send_text(WireKind::kManifest, to_json(in_place->manifest));
  }
  RankServer(const RankServer&) = delete;
  RankServer& operator=(const RankServer&) = delete;
  ~RankServer() {
    {
      const std::lock_guard lock(mutex_);
      loads_.clear();
    }
    if (loader_.joinable()) loader_.join();
  }

  void run() {
    WireHeader header;
    while (socket_.receive_header(header)) {
      switch (header.kind) {
        case WireKind::kWelcome: welcome(header); break;
        case WireKind::kLoad: queue_load(socket_.receive_text(header)); break;
        case WireKind::kUnload: unload(socket_.receive_struct<WireUnload>(header)); break;
        case WireKind::kRun: run_batch(header); break;
        case WireKind::kShutDown: return;
        default:
          throw CommError(fmt::format("the front end sent a message of kind {}",
                                      static_cast<std::uint32_t>(header.kind)));
      }
    }
  }

 private:
  void welcome(const WireHeader& header) {
    int descriptor = -1;
    const auto welcome = socket_.receive_struct<WireWelcome>(header, &descriptor);
    if (welcome.arena_bytes == 0) return;
    require<CommError>(descriptor >= 0, "the front end sent no memory");
    arena_ = std::make_unique<SharedArena>(descriptor, welcome.arena_bytes);
  }

  // --- models

  void queue_load(std::string request) {
    const std::lock_guard lock(mutex_);
    loads_.push_back(std::move(request));
    if (std::exchange(is_loading_, true)) return;
    if (loader_.joinable()) loader_.join();  // it has ended, or is about to
    loader_ = std::thread([this] { load_models(); });
  }

  /// In a thread of its own, which gives way to the one that answers, and ends with the last load: OpenMP would keep a second
  /// team for it, and lets no thread wait actively while it has more threads than there are cores.
  void load_models() {
    constexpr int kGivesWay = 15;
    ::setpriority(PRIO_PROCESS, 0, kGivesWay);  // Linux: of this thread
    std::unique_lock lock(mutex_);
    while (!loads_.empty()) {
      const std::string request = std::move(loads_.front());
      loads_.pop_front();
      lock.unlock();
      load(request);
      lock.lock();
    }
    is_loading_ = false;
  }

  void load(const std::string& text) {
    const auto begin = std::chrono::steady_clock::now();
    const Json request = Json::parse(text);
    const auto handle = request.at("handle").get<std::uint64_t>();
    Json answer = {{"handle", handle}, {"error", ""}};
    try {
      const Manifest manifest =
          manifest_from_json(request.at("manifest").get<std::string>(), "manifest");
      std::shared_ptr<ServedModel> model = make_model(manifest, request);
      answer["memory_bytes"] = model->memory_bytes();
      const std::lock_guard lock(mutex_);
      models_[handle] = std::move(model);
    } catch (const std::exception& e) {
      answer["error"] = e.what();
    }
    answer["seconds"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    socket_.send_text(WireKind::kLoaded,
                      answer.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  std::shared_ptr<ServedModel> make_model(const Manifest& manifest, const Json& request) {
    const auto rows = request.at("max_batch_size").get<std::int64_t>();
    if (in_place_ != nullptr && in_place_->loaded.network &&
        manifest.name == in_place_->manifest.name)
      return std::make_shared<ServedModel>(manifest, std::move(in_place_->loaded), rows,
                                           *in_place_->stream);
    return ServedModel::load(manifest, request.at("folder").get<std::string>(), rows,
                             layout_.device);
  }

  void unload(const WireUnload& what) {
    std::shared_ptr<ServedModel> model;  // goes when the lock is gone
    const std::lock_guard lock(mutex_);
    if (const auto found = models_.find(what.handle); found != models_.end()) {
      model = std::move(found->second);
      models_.erase(found);
    }
  }

  std::shared_ptr<ServedModel> find(std::uint64_t handle) {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(handle);
    if (found == models_.end()) throw InvalidArgument("the model is not loaded on this rank");
    return found->second;
  }

  // --- batches

  void run_batch(const WireHeader& header) {
    request_.resize(header.size_bytes);
    socket_.receive(request_.data(), request_.size());
    WireRun run;
    require<CommError>(request_.size() >= sizeof run, "a batch is cut short");
    std::memcpy(&run, request_.data(), sizeof run);
    require<CommError>((request_.size() - sizeof run) / sizeof(WirePart) >= run.parts,
                       "a batch is cut short");
    wire_parts_.resize(run.parts);
    if (run.parts > 0)
      std::memcpy(wire_parts_.data(), request_.data() + sizeof run, run.parts * sizeof(WirePart));
    WireRan ran{.batch = run.batch};
    std::string error;
    answers_.clear();
    try {
      const std::shared_ptr<ServedModel> model = find(run.handle);
      place_parts(*model, sizeof run + run.parts * sizeof(WirePart));
      const ServedModel::Times times = model->run(parts_);
      ran.input_ns = times.input_ns;
      ran.infer_ns = times.infer_ns;
      ran.output_ns = times.output_ns;
    } catch (const std::exception& e) {
      ran.is_error = 1;
      error = e.what();
      answers_.clear();
    }
    socket_.send_answer(ran, error, std::as_bytes(std::span(answers_)));
  }

  /// Where each part's rows lie and its answers go: in the arena, or behind the message and in a buffer that is sent.
  void place_parts(const ServedModel& model, std::size_t at) {
    parts_.clear();
    std::size_t values = 0;
    for (const WirePart& part : wire_parts_) values += part.rows * model.output_numel();
    if (!arena_) answers_.resize(values);
    float* answer = answers_.data();
    for (const WirePart& part : wire_parts_) {
      const std::size_t in = part.rows * model.sample_bytes(part.is_u8 != 0);
      const std::size_t out = part.rows * model.output_numel();
      const bool fits = arena_
                            ? part.input_offset + in <= arena_->size_bytes() &&
                                  part.output_offset + out * sizeof(float) <= arena_->size_bytes()
                            : at + in <= request_.size();
      require<CommError>(fits, "a batch lies outside of what was sent");
      parts_.push_back(
          {.input = arena_ ? arena_->at(part.input_offset) : request_.data() + at,
           .output = arena_ ? reinterpret_cast<float*>(arena_->at(part.output_offset)) : answer,
           .rows = part.rows,
           .is_u8 = part.is_u8 != 0});
      at += in;
      answer += arena_ ? 0 : out;
    }
  }

  const RankLayout& layout_;
  InPlaceModel* in_place_;
  RankSocket socket_;
  std::unique_ptr<SharedArena> arena_;
  std::mutex mutex_;  // of what follows
  std::deque<std::string> loads_;
  std::map<std::uint64_t, std::shared_ptr<ServedModel>> models_;
  bool is_loading_ = false;
  std::thread loader_;
  // of the batch that runs
  std::vector<std::byte> request_;
  std::vector<WirePart> wire_parts_;
  std::vector<ServedModel::Part> parts_;
  std::vector<float> answers_;
};

}  // namespace

std::string FrontAddress::text() const { return fmt::format("{},{},{}", unix_name, host, port); }

std::optional<FrontAddress> FrontAddress::from_environment() {
  const char* address = std::getenv(kFrontAddressVariable);
  const char* token = std::getenv(kFrontTokenVariable);
  if (address == nullptr || token == nullptr) return std::nullopt;
  const auto fields = split(address, ',');
  if (fields.size() != 3)
    throw InvalidInput(
        fmt::format("{}: expected NAME,HOST,PORT, found '{}'", kFrontAddressVariable, address));
  return FrontAddress{std::string(fields[0]), std::string(fields[1]),
                      static_cast<int>(parse_int(fields[2])), token};
}

std::string FrontAddress::token_from_environment() {
  const char* token = std::getenv(kFrontTokenVariable);
  return token == nullptr ? std::string() : std::string(token);
}

void serve_rank(const FrontAddress& front, const RankLayout& layout, InPlaceModel* in_place) {
  RankServer(front, layout, in_place).run();
}

}  // namespace phalanx
