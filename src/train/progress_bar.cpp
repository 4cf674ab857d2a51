// SPDX-License-Identifier: Apache-2.0
#include "train/progress_bar.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kWidestBar = 40;
constexpr std::size_t kNarrowestBar = 5;
constexpr const char* kClearLine = "\r\x1b[K";

std::string of_total(double done, double total) {
  return total > 0 ? fmt::format("{}/{}", done, total) : fmt::format("{}", done);
}

}  // namespace

ProgressBar::ProgressBar(std::ostream& out, const Options& options, const RunProgress& first,
                         double now_seconds)
    : out_(out),
      options_(options),
      first_(first),
      last_(first),
      start_seconds_(now_seconds),
      drawn_seconds_(now_seconds),
      drawn_step_(first.step) {}

void ProgressBar::update(const RunProgress& progress, double now_seconds) {
  if (!options_.enabled) return;
  last_ = progress;
  if (is_due(now_seconds)) draw(now_seconds);
}

bool ProgressBar::is_due(double now_seconds) const {
  const double waited = now_seconds - drawn_seconds_;
  if (options_.is_terminal) return waited >= options_.redraw_seconds;
  return waited >= options_.line_seconds ||
         (options_.log_every > 0 && last_.step - drawn_step_ >= options_.log_every);
}

void ProgressBar::draw(double now_seconds) {
  if (options_.is_terminal) {
    out_ << kClearLine << text(last_, now_seconds) << std::flush;
    is_line_open_ = true;
  } else {
    out_ << text(last_, now_seconds) << '\n' << std::flush;
  }
  drawn_seconds_ = now_seconds;
  drawn_step_ = last_.step;
}

void ProgressBar::note(std::string_view line) {
  if (!options_.enabled) return;
  const bool redraw = is_line_open_;
  if (redraw) out_ << kClearLine;
  out_ << line << '\n';
  if (redraw) out_ << text(last_, drawn_seconds_);
  out_ << std::flush;
}

void ProgressBar::finish(double now_seconds) {
  if (!options_.enabled) return;
  if (options_.is_terminal || drawn_step_ != last_.step) draw(now_seconds);
  if (is_line_open_) out_ << '\n' << std::flush;
  is_line_open_ = false;
}

std::string ProgressBar::bar(const RunProgress& progress, std::size_t width) const {
  const double share = std::clamp(
      static_cast<double>(progress.step) / static_cast<double>(options_.total_steps), 0.0, 1.0);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(width));
  std::string cells(full, '=');
  if (full < width) cells += '>';
  cells.resize(width, ' ');
  return fmt::format("[{}] ", cells);
}

std::string ProgressBar::text(const RunProgress& progress, double now_seconds) const {
  const double epoch = std::floor(progress.epoch);
  const bool in_last = options_.total_epochs > 0 && epoch >= options_.total_epochs;
  const std::string head = fmt::format(
      "epoch {} ", of_total(in_last ? epoch : epoch + 1, std::ceil(options_.total_epochs)));
  std::string tail = fmt::format("step {}", of_total(static_cast<double>(progress.step),
                                                     static_cast<double>(options_.total_steps)));
  if (!std::isnan(progress.loss)) tail += fmt::format("  loss {:.4g}", progress.loss);
  if (progress.samples_per_second > 0)
    tail += fmt::format("  {:.0f} samples/s", progress.samples_per_second);
  const std::int64_t done = progress.step - first_.step;
  const std::int64_t left = options_.total_steps - progress.step;
  if (done > 0 && left > 0)
    tail += fmt::format("  {} left",
                        human_seconds((now_seconds - start_seconds_) * static_cast<double>(left) /
                                      static_cast<double>(done)));
  if (!options_.is_terminal) return head + tail;
  const auto columns = static_cast<std::size_t>(std::max(options_.columns - 1, 1));
  const std::size_t taken = head.size() + tail.size() + 3;
  std::string line = head;
  if (options_.total_steps > 0 && taken + kNarrowestBar <= columns)
    line += bar(progress, std::min(kWidestBar, columns - taken));
  return (line + tail).substr(0, columns);
}

bool stderr_is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

int stderr_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace phalanx
