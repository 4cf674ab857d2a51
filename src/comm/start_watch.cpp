// SPDX-License-Identifier: Apache-2.0
#include "comm/start_watch.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/error.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr double kSeconds = 120;
constexpr double kCourtesySeconds = 2;  // of a host from which nobody is missing

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::optional<int> number(const char* name) {
  const auto text = variable(name);
  try {
    return text ? std::optional(static_cast<int>(parse_int(*text))) : std::nullopt;
  } catch (const InvalidInput&) {
    return std::nullopt;
  }
}

// Slurm's "2(x3),1": tasks of each node, in the order of nodes.
std::optional<int> tasks_of_node(const std::string& list, int node) {
  try {
    for (const std::string_view entry : split(list, ',')) {
      const auto times = entry.find("(x");
      const std::int64_t nodes = times == std::string_view::npos
                                     ? 1
                                     : parse_int(entry.substr(times + 2, entry.size() - times - 3));
      if (node < nodes) return static_cast<int>(parse_int(entry.substr(0, times)));
      node -= static_cast<int>(nodes);
    }
  } catch (const InvalidInput&) {
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::optional<LaunchPlace> launch_place() {
  const auto job = variable("PMIX_NAMESPACE");
  if (!job) return std::nullopt;
  if (const auto rank = number("OMPI_COMM_WORLD_RANK"), size = number("OMPI_COMM_WORLD_SIZE"),
      local_rank = number("OMPI_COMM_WORLD_LOCAL_RANK"),
      local_size = number("OMPI_COMM_WORLD_LOCAL_SIZE");
      rank && size && local_rank && local_size)
    return LaunchPlace{*job, *rank, *size, *local_rank, *local_size};
  const auto rank = number("SLURM_PROCID"), size = number("SLURM_STEP_NUM_TASKS"),
             local_rank = number("SLURM_LOCALID"), node = number("SLURM_NODEID");
  const auto tasks = variable("SLURM_STEP_TASKS_PER_NODE");
  if (!rank || !size || !local_rank || !node || !tasks) return std::nullopt;
  const auto local_size = tasks_of_node(*tasks, *node);
  if (!local_size) return std::nullopt;
  return LaunchPlace{*job, *rank, *size, *local_rank, *local_size};
}

StartWatch::StartWatch() : place_(launch_place()), seconds_(kSeconds) {
  if (!is_active()) return;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  host_ = host.data();
  // The launcher's folder for this job and host is cleared away by the launcher.
  const auto store = variable("PMIX_DSTORE_ESH_BASE_PATH");
  const std::filesystem::path parent =
      store ? std::filesystem::path(*store).parent_path() : std::filesystem::path("/dev/shm");
  folder_ = parent / fmt::format("phalanx-start-{}-{}", getuid(), place_->job);
  const auto wanted = variable("PHALANX_START_SECONDS");
  try {
    if (wanted) seconds_ = parse_double(*wanted);
  } catch (const InvalidInput&) {
    log_warning("PHALANX_START_SECONDS: expected a number of seconds, found '{}'", *wanted);
  }
}

StartWatch::~StartWatch() { forget(); }

std::string StartWatch::note_of(int local_rank) const {
  return fmt::format("{}/{}", folder_, local_rank);
}

void StartWatch::forget() noexcept {
  if (!is_active()) return;
  std::error_code error;
  std::filesystem::remove(note_of(place_->local_rank), error);
  std::filesystem::remove(folder_, error);  // the last one finds it empty
}

std::string StartWatch::missing() const {
  std::string text;
  for (int local = 0; local < place_->local_size; ++local) {
    int stage = 0, rank = -1;
    std::ifstream note(note_of(local));
    if (note >> stage >> rank && stage >= stage_) continue;
    if (rank < 0 && place_->local_size == place_->size) rank = local;
    text += text.empty() ? "" : ", ";
    text += rank >= 0 ? fmt::format("rank {} on {}", rank, host_)
                      : fmt::format("local rank {} on {}", local, host_);
  }
  return text;
}

StartWatch::Stage::Stage(StartWatch& watch, std::string_view name) : watch_(watch) {
  if (!watch_.is_active()) return;
  ++watch_.stage_;
  std::error_code error;
  std::filesystem::create_directories(watch_.folder_, error);
  std::ofstream(watch_.note_of(watch_.place_->local_rank))
      << watch_.stage_ << ' ' << watch_.place_->rank << '\n';
  thread_ = std::thread([this, text = std::string(name)] { wait(text); });
}

StartWatch::Stage::~Stage() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  condition_.notify_one();
  thread_.join();
}

void StartWatch::Stage::wait(std::string name) {
  std::unique_lock lock(mutex_);
  const auto is_over_within = [&](double seconds) {
    return condition_.wait_for(lock, std::chrono::duration<double>(seconds),
                               [this] { return is_over_; });
  };
  if (is_over_within(watch_.seconds_)) return;
  std::string missing = watch_.missing();
  double waited = watch_.seconds_;
  if (missing.empty()) {
    if (is_over_within(kCourtesySeconds)) return;
    waited += kCourtesySeconds;
    missing = watch_.missing();
  }
  const LaunchPlace& place = *watch_.place_;
  log_error("rank {} on {} waited {:.1f} s at start-up in {}; missing: {}", place.rank,
            watch_.host_, waited, name,
            missing.empty() ? fmt::format("ranks of other hosts; the {} of this host are here",
                                          place.local_size)
                            : missing);
  std::_Exit(static_cast<int>(ExitCode::kPeerLost));
}

}  // namespace phalanx
