// SPDX-License-Identifier: Apache-2.0
#include "train/stop_signals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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

volatile std::sig_atomic_t was_raised = 0;

void note(int) { was_raised = 1; }

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
  was_raised = 0;
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

bool StopSignals::raised() const noexcept { return was_raised != 0; }

}  // namespace phalanx
