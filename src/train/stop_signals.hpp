// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phalanx {

/// Notes signals by which a scheduler asks a run to save and end. One object at a time; the old handlers return with its end.
class StopSignals {
 public:
  /// `names`: signals without "SIG", separated by blanks, such as "USR1 TERM"; empty: none.
  /// Throws    ConfigError naming the word that is no signal of the list USR1, USR2, TERM, INT, HUP, XCPU.
  explicit StopSignals(std::string_view names);
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();

  /// Whether one has come since construction.
  bool raised() const noexcept;

 private:
  std::vector<std::pair<int, struct sigaction>> before_;
};

}  // namespace phalanx
