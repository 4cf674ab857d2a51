// SPDX-License-Identifier: Apache-2.0
#include "serve/in_place.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

#include "core/error.hpp"
#include "core/text.hpp"
#include "serve/launch.hpp"
#include "serve/manifest.hpp"
#include "serve/rank_server.hpp"
#include "serve/wire.hpp"

namespace phalanx {
namespace {

/// The front end as a child of rank 0.
class FrontProcess {
 public:
  FrontProcess(const InPlaceOptions& options, const RankLayout& layout)
      : should_end_(options.should_end) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
      throw IoError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
    ::fcntl(pipe[1], F_SETFD, 0);  // for the child
    std::vector<std::string> arguments = {options.program, "serve",
                                          fmt::format("--attached-ranks={}", layout.size),
                                          fmt::format("--attached-nodes={}", layout.nodes),
                                          fmt::format("--announce-descriptor={}", pipe[1])};
    arguments.insert(arguments.end(), options.flags.begin(), options.flags.end());
    const std::string token = random_token();
    pid_ = start_process(arguments,
                         environment_for_job({fmt::format("{}={}", kFrontTokenVariable, token)}));
    ::close(pipe[1]);
    address_ = read_line(pipe[0]) + "," + token;
    ::close(pipe[0]);
    forwarder_ = std::thread([this] { forward_signals(); });
  }
  FrontProcess(const FrontProcess&) = delete;
  FrontProcess& operator=(const FrontProcess&) = delete;
  ~FrontProcess() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    has_ended_ = true;
    forwarder_.join();
  }

  /// "NAME,HOST,PORT,TOKEN"
  const std::string& address() const noexcept { return address_; }

 private:
  static std::string read_line(int descriptor) {
    std::string line;
    char c = 0;
    while (::read(descriptor, &c, 1) == 1 && c != '\n') line += c;
    if (line.empty()) throw IoError("the front end has ended before it listened");
    return line;
  }

  /// Signals may come to any thread of this process: their handlers take note, and here somebody looks.
  void forward_signals() const {
    while (!has_ended_ && !(should_end_ && should_end_()))
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (!has_ended_) ::kill(pid_, SIGTERM);
  }

  std::function<bool()> should_end_;
  std::atomic<bool> has_ended_ = false;
  int pid_ = -1;
  std::string address_;
  std::thread forwarder_;
};

/// A short text of rank 0 on every rank.
std::string broadcast_text(const std::string& text, Communicator& comm) {
  Stream host{Device{}};
  std::array<std::int64_t, 64> words{};
  require(text.size() < sizeof words, "the address of the front end is too long");
  std::memcpy(words.data(), text.data(), text.size());
  comm.broadcast({words.data(), {DType::kI64, Shape{static_cast<std::int64_t>(words.size())}}}, 0,
                 host);
  return reinterpret_cast<const char*>(words.data());
}

}  // namespace

void serve_in_place(const InPlaceOptions& options, const RankLayout& layout, Communicator& comm,
                    LoadedModel loaded, Stream& stream) {
  std::unique_ptr<FrontProcess> front;
  if (layout.rank == 0) front = std::make_unique<FrontProcess>(options, layout);
  const std::string text = broadcast_text(front ? front->address() : std::string(), comm);
  const auto fields = split(text, ',');
  require<CommError>(fields.size() == 4, "the front end's address is malformed");
  const FrontAddress address{std::string(fields[0]), std::string(fields[1]),
                             static_cast<int>(parse_int(fields[2])), std::string(fields[3])};
  InPlaceModel model{manifest_of(loaded.record, 0.5), std::move(loaded), &stream};
  model.manifest.name = options.model;
  model.manifest.version = 1;
  model.manifest.files[kWeightsFile] = {0, std::string(64, '0')};  // there is none
  serve_rank(address, layout, &model);
}

}  // namespace phalanx
