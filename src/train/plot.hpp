// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/metrics_log.hpp"

namespace phalanx {

struct PlotPoint {
  double x = 0;
  double y = 0;  ///< NaN, infinite or beyond 1e300: the line has a gap here
};

struct PlotCurve {
  std::string name;               ///< in the legend
  std::vector<PlotPoint> points;  ///< x ascending
};

struct PlotPanel {
  std::string title;
  std::string x_label;
  std::string y_label;              ///< with unit
  std::vector<PlotCurve> curves;    ///< colours and dashes repeat after six
  bool may_be_logarithmic = false;  ///< log scale if all values are > 0 and span more than 100 x
  double least = -std::numeric_limits<double>::infinity();  ///< no axis goes below
  double most = std::numeric_limits<double>::infinity();    ///< or above, as far as values allow
};

/// An SVG document with the panels side by side: axes with round ticks, a legend above each panel
/// with the last value of each curve, markers while a curve has few points, a white background and
/// the colours of Okabe and Ito, told apart also by dashes. A panel without a value says so.
/// A pure function: equal arguments give equal bytes. Curves of more than 2000 points are drawn
/// by the least and the greatest value of each of 1000 ranges, up to the range's first gap.
std::string plot_svg(std::string_view title, std::span<const PlotPanel> panels);

/// The panels "loss" and "accuracy" over epochs, one curve per split in order of appearance.
std::vector<PlotPanel> training_panels(std::span<const MetricsLine> lines);

}  // namespace phalanx
