// SPDX-License-Identifier: Apache-2.0
#include "train/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace phalanx {
namespace {

constexpr double kPanelWidth = 600;
constexpr double kPanelHeight = 400;
constexpr double kTitleHeight = 40;
constexpr double kFontSize = 13;
constexpr double kCharWidth = 7.2;  // of digits at that size in common sans-serif fonts
constexpr double kTop = 70;         // of the plot area in its panel: room for title and legend
constexpr double kBottom = 56;
constexpr double kRight = 24;
constexpr double kHuge = 1e300;
constexpr double kTiny = 1e-290;  // less than this is drawn as 0
constexpr double kLogSpan = 100;
constexpr std::size_t kMaxPoints = 2000;
constexpr std::size_t kMaxMarkers = 30;
constexpr std::size_t kMaxNameBytes = 24;

struct Style {
  const char* colour;
  const char* dashes;
};
constexpr std::array<Style, 6> kStyles = {{{"#0072B2", "none"},
                                           {"#D55E00", "8 4"},
                                           {"#009E73", "2 3"},
                                           {"#CC79A7", "10 3 2 3"},
                                           {"#E69F00", "5 2"},
                                           {"#56B4E9", "1 3"}}};

bool is_drawable(const PlotPoint& p) {
  return std::abs(p.x) <= kHuge && std::abs(p.y) <= kHuge;  // false for NaN
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

// Cut at a whole UTF-8 character.
std::string shortened(std::string_view name) {
  if (name.size() <= kMaxNameBytes) return std::string(name);
  std::size_t end = kMaxNameBytes;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) --end;
  return std::string(name.substr(0, end)) + "…";
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool is_empty() const { return low > high; }
};

/// One axis: the values it shows, where its ticks are and how a value becomes a place from 0 to 1.
class Axis {
 public:
  static Axis linear(Range range, double least, double most, int wanted_ticks, bool to_ticks);
  static Axis logarithmic(Range range);

  double place(double value) const {
    const double v = logarithmic_ ? std::log10(value) : value;
    return (v - low_) / (high_ - low_);
  }
  const std::vector<double>& ticks() const { return ticks_; }
  std::string label(double tick) const {
    const bool plain = decimals_ >= 0 && std::abs(tick) < 1e7;
    return plain ? fmt::format("{:.{}f}", tick, decimals_) : fmt::format("{:.6g}", tick);
  }

 private:
  double low_ = 0;
  double high_ = 1;
  bool logarithmic_ = false;
  int decimals_ = -1;
  std::vector<double> ticks_;
};

// 1, 2 or 5 times a power of ten.
double round_step(double rough) {
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double leading = rough / power;
  if (leading <= 1.0000001) return power;
  if (leading <= 2.0000001) return 2 * power;
  return leading <= 5.0000001 ? 5 * power : 10 * power;
}

Axis Axis::linear(Range range, double least, double most, int wanted_ticks, bool to_ticks) {
  const double size = std::max(std::abs(range.low), std::abs(range.high));
  if (range.high - range.low <= 1e-9 * size || size < kTiny) {
    const double margin = size < kTiny ? 1 : 0.1 * size;
    range = {std::min(range.low, std::max(range.low - margin, least)),
             std::max(range.high, std::min(range.high + margin, most))};
  }
  const double step = round_step((range.high - range.low) / wanted_ticks);
  const double first = std::floor(range.low / step + 1e-6);
  const double last = std::ceil(range.high / step - 1e-6);
  Axis axis;
  axis.low_ = to_ticks ? std::min(range.low, first * step) : range.low;
  axis.high_ = to_ticks ? std::max(range.high, last * step) : range.high;
  for (double k = first; k <= last; ++k) {
    const double place = axis.place(k * step);
    if (place > -1e-6 && place < 1 + 1e-6) axis.ticks_.push_back(k == 0 ? 0.0 : k * step);
  }
  const double digits = -std::floor(std::log10(step) + 1e-9);
  if (digits <= 6) axis.decimals_ = static_cast<int>(std::max(digits, 0.0));
  return axis;
}

Axis Axis::logarithmic(Range range) {
  Axis axis;
  axis.logarithmic_ = true;
  axis.low_ = std::floor(std::log10(range.low));
  axis.high_ = std::ceil(std::log10(range.high));
  const double step = std::ceil((axis.high_ - axis.low_) / 8);
  for (double k = axis.low_; k <= axis.high_; k += step) axis.ticks_.push_back(std::pow(10.0, k));
  return axis;
}

struct Axes {
  Axis x;
  Axis y;
};

Axes make_axes(const PlotPanel& panel, const Range& x, const Range& y) {
  const bool logarithmic = panel.may_be_logarithmic && y.low > kTiny && y.high / y.low > kLogSpan;
  Range shown = x;
  if (x.low > 0 && (x.low == x.high || x.low < 0.5 * x.high)) shown.low = 0;  // a run starts at 0
  return {Axis::linear(shown, 0, kHuge, 8, false),
          logarithmic ? Axis::logarithmic(y) : Axis::linear(y, panel.least, panel.most, 5, true)};
}

std::vector<PlotPoint> thinned(const std::vector<PlotPoint>& points) {
  if (points.size() <= kMaxPoints) return points;
  const std::size_t ranges = kMaxPoints / 2;
  std::vector<PlotPoint> kept;
  for (std::size_t i = 0; i < ranges; ++i) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(i * points.size() / ranges);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((i + 1) * points.size() / ranges);
    const auto gap = std::find_if_not(begin, end, is_drawable);
    auto [low, high] = std::minmax_element(
        begin, gap, [](const PlotPoint& a, const PlotPoint& b) { return a.y < b.y; });
    if (gap != begin) {
      if (high < low) std::swap(low, high);
      kept.push_back(*low);
      if (high != low) kept.push_back(*high);
    }
    if (gap != end) kept.push_back(*gap);
  }
  return kept;
}

/// Where a panel and its plot area lie in the picture.
struct Frame {
  double left, top, width, height;
  double x(const Axis& axis, double value) const { return left + axis.place(value) * width; }
  double y(const Axis& axis, double value) const { return top + (1 - axis.place(value)) * height; }
};

std::string text_at(double x, double y, std::string_view anchor, std::string_view text,
                    std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more, escape(text));
}

std::string line_at(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1,
                     x2, y2, style);
}

std::string draw_axes(const Axes& axes, const Frame& f) {
  constexpr const char* kGrid = "stroke=\"#e2e2e2\"";
  constexpr const char* kEdge = "stroke=\"#444444\"";
  const double bottom = f.top + f.height;
  std::string out;
  for (const double tick : axes.y.ticks()) {
    const double y = f.y(axes.y, tick);
    out += line_at(f.left, y, f.left + f.width, y, kGrid);
    out += text_at(f.left - 8, y + 0.35 * kFontSize, "end", axes.y.label(tick));
  }
  for (const double tick : axes.x.ticks()) {
    const double x = f.x(axes.x, tick);
    out += line_at(x, bottom, x, bottom + 5, kEdge);
    out += text_at(x, bottom + 20, "middle", axes.x.label(tick));
  }
  out += line_at(f.left, f.top, f.left, bottom, kEdge);
  out += line_at(f.left, bottom, f.left + f.width, bottom, kEdge);
  return out;
}

std::string draw_curve(const PlotCurve& curve, const Style& style, const Axes& axes,
                       const Frame& f) {
  std::string path;
  std::string markers;
  bool pen_down = false;
  const bool marked = curve.points.size() <= kMaxMarkers;
  for (const PlotPoint& p : thinned(curve.points)) {
    if (is_drawable(p)) {
      const double x = f.x(axes.x, p.x);
      const double y = f.y(axes.y, p.y);
      path += fmt::format("{}{:.1f} {:.1f}", pen_down ? " L" : " M", x, y);
      if (marked) markers += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n", x, y);
    }
    pen_down = is_drawable(p);
  }
  if (path.empty()) return {};
  return fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\" "
      "stroke-linejoin=\"round\"/>\n<g fill=\"{}\">\n{}</g>\n",
      std::string_view(path).substr(1), style.colour, style.dashes, style.colour, markers);
}

std::string legend_text(const PlotCurve& curve) {
  const auto last = std::find_if(curve.points.rbegin(), curve.points.rend(), is_drawable);
  const std::string name = shortened(curve.name);
  return last == curve.points.rend() ? name : fmt::format("{}: {:.4g}", name, last->y);
}

// Entries that do not fit on the line are left out; their curves remain.
std::string draw_legend(const PlotPanel& panel, const Frame& f) {
  constexpr double kSample = 30;
  const double y = f.top - 18;
  double x = f.left;
  std::string out;
  for (std::size_t i = 0; i < panel.curves.size(); ++i) {
    const Style& style = kStyles[i % kStyles.size()];
    const std::string text = legend_text(panel.curves[i]);
    const double width = kSample + 6 + kCharWidth * static_cast<double>(text.size()) + 18;
    if (x + width > f.left + f.width + kRight) break;
    out += line_at(x, y, x + kSample, y,
                   fmt::format("stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"",
                               style.colour, style.dashes));
    out += text_at(x + kSample + 6, y + 0.35 * kFontSize, "start", text);
    x += width;
  }
  return out;
}

double label_width(const Axis& axis) {
  std::size_t longest = 0;
  for (const double tick : axis.ticks()) longest = std::max(longest, axis.label(tick).size());
  return kCharWidth * static_cast<double>(longest);
}

std::string draw_panel(const PlotPanel& panel, double left, double top) {
  Range x;
  Range y;
  for (const PlotCurve& curve : panel.curves)
    for (const PlotPoint& p : curve.points)
      if (is_drawable(p)) {
        x.add(p.x);
        y.add(p.y);
      }
  const bool is_empty = x.is_empty();
  const Axes axes = is_empty ? Axes{} : make_axes(panel, x, y);
  const double margin = 46 + label_width(axes.y);
  const Frame f{left + margin, top + kTop, kPanelWidth - margin - kRight,
                kPanelHeight - kTop - kBottom};

  std::string out =
      text_at(f.left, top + 24, "start", panel.title, " font-size=\"16\" font-weight=\"bold\"");
  out += draw_axes(axes, f);
  const double middle = f.top + f.height / 2;
  out += text_at(f.left + f.width / 2, f.top + f.height + 44, "middle", panel.x_label);
  out += text_at(left + 20, middle, "middle", panel.y_label,
                 fmt::format(" transform=\"rotate(-90 {:.1f} {:.1f})\"", left + 20, middle));
  if (is_empty)
    return out +
           text_at(f.left + f.width / 2, middle, "middle", "no values yet", " fill=\"#777777\"");
  out += draw_legend(panel, f);
  for (std::size_t i = 0; i < panel.curves.size(); ++i)
    out += draw_curve(panel.curves[i], kStyles[i % kStyles.size()], axes, f);
  return out;
}

void add_point(PlotPanel& panel, const std::string& split, double x, double y) {
  auto curve = std::find_if(panel.curves.begin(), panel.curves.end(),
                            [&split](const PlotCurve& c) { return c.name == split; });
  if (curve == panel.curves.end()) curve = panel.curves.insert(curve, PlotCurve{split, {}});
  curve->points.push_back({x, y});
}

}  // namespace

std::string plot_svg(std::string_view title, std::span<const PlotPanel> panels) {
  const double width = kPanelWidth * static_cast<double>(std::max<std::size_t>(panels.size(), 1));
  const double height = kTitleHeight + kPanelHeight;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"{2}\" "
      "fill=\"#222222\">\n<title>{3}</title>\n<rect width=\"{0}\" height=\"{1}\" "
      "fill=\"#ffffff\"/>\n",
      width, height, kFontSize, escape(title));
  out += text_at(width / 2, 28, "middle", title, " font-size=\"18\" font-weight=\"bold\"");
  for (std::size_t i = 0; i < panels.size(); ++i)
    out += draw_panel(panels[i], kPanelWidth * static_cast<double>(i), kTitleHeight);
  return out + "</svg>\n";
}

std::vector<PlotPanel> training_panels(std::span<const MetricsLine> lines) {
  PlotPanel loss{"Loss", "epoch", "loss (mean per sample)", {}};
  loss.may_be_logarithmic = true;
  PlotPanel accuracy{"Accuracy", "epoch", "accuracy (%)", {}};
  accuracy.least = 0;
  accuracy.most = 100;
  for (const MetricsLine& line : lines) {
    if (const auto value = line.value("loss")) add_point(loss, line.split, line.epoch, *value);
    if (const auto value = line.value("accuracy"))
      add_point(accuracy, line.split, line.epoch, 100 * *value);
  }
  return {loss, accuracy};
}

}  // namespace phalanx
