// SPDX-License-Identifier: Apache-2.0
#include "train/stop_signals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr std::array<std::pair<std::string_view, int>, 6> kSignals{{{"USR1", SIGUSR1},
                                                                    {"USR2", SIGUSR2},
                                                                    {"TERM", SIGTERM},
                                                                    {"INT", SIGINT},
                                                                    {"HUP", SIGHUP},
                                                                    {"XCPU", SIGXCPU}}};

// Written by a handler, read by any thread.
std::atomic<bool> was_raised = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void note(int) { was_raised = true; }

int number_of(std::string_view name) {
  const auto found = std::ranges::find(kSignals, name, [](const auto& s) { return s.first; });
  if (found == kSignals.end())
    throw ConfigError(fmt::format(
        "stop-signals: expected names out of USR1, USR2, TERM, INT, HUP, XCPU, found '{}'", name));
  return found->second;
}

}  // namespace

StopSignals::StopSignals(std::string_view names) {
  std::vector<int> numbers;
  for (const std::string_view name : split_words(names)) numbers.push_back(number_of(name));
  was_raised = false;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;  // reads and writes of other code are not disturbed
  for (const int number : numbers) {
    struct sigaction old {};
    sigaction(number, &action, &old);
    before_.emplace_back(number, old);
  }
}

StopSignals::~StopSignals() {
  for (const auto& [number, old] : before_) sigaction(number, &old, nullptr);
}

bool StopSignals::raised() const noexcept { return was_raised; }

}  // namespace phalanx
