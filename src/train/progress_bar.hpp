// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <ostream>
#include <string>
#include <string_view>

namespace phalanx {

/// Where a run stands.
struct RunProgress {
  std::int64_t step = 0;  ///< steps done, those before a resume included
  double epoch = 0;       ///< epochs done, with fraction
  double loss = std::numeric_limits<double>::quiet_NaN();
  double samples_per_second = 0;  ///< over all ranks; 0: not known yet
};

/// Shows people how a run goes: on a terminal one line that is redrawn in place, elsewhere (a batch
/// job's log) plain lines now and then.
///
///   epoch 3/10 [=======>            ] step 1234/5000  loss 0.3127  8210 samples/s  3 m 12 s left
///
/// The caller passes the time, so that nothing here depends on a clock. Not thread-safe: between
/// start and finish() lines for the same terminal go through note().
class ProgressBar {
 public:
  struct Options {
    bool enabled = true;  ///< false on every rank but 0: nothing is printed
    bool is_terminal = false;
    int columns = 80;              ///< width of the terminal
    std::int64_t total_steps = 0;  ///< 0: unknown; then there is neither bar nor time left
    double total_epochs = 0;       ///< 0: unknown
    double redraw_seconds = 0.1;   ///< least time between redraws on a terminal
    double line_seconds = 5.0;     ///< least time between plain lines
    std::int64_t log_every = 0;    ///< plain lines also every so many steps; 0: by time only
  };

  /// `out` must outlive the bar. `first` and `now_seconds` (of any steady clock) are where this
  /// process starts; the time left is estimated from what it has done itself.
  ProgressBar(std::ostream& out, const Options& options, const RunProgress& first,
              double now_seconds);

  /// Draws if enough time has passed; cheap enough for every step.
  void update(const RunProgress& progress, double now_seconds);

  /// Prints a whole line above the bar.
  void note(std::string_view line);

  /// Draws the last state a last time and ends the line. Later calls of update() start again.
  void finish(double now_seconds);

  /// The text for a state: at most `columns` wide if is_terminal, without a line end.
  std::string text(const RunProgress& progress, double now_seconds) const;

 private:
  std::string bar(const RunProgress& progress, std::size_t width) const;
  bool is_due(double now_seconds) const;
  void draw(double now_seconds);

  std::ostream& out_;
  Options options_;
  RunProgress first_;
  RunProgress last_;
  double start_seconds_;
  double drawn_seconds_;
  std::int64_t drawn_step_;
  bool is_line_open_ = false;  ///< the cursor stands behind a bar
};

/// Whether standard error is a terminal that can redraw a line (TERM is not "dumb").
bool stderr_is_terminal();

/// Columns of the terminal at standard error; 80 if it does not tell.
int stderr_columns();

}  // namespace phalanx
