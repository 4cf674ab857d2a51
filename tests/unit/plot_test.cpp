// SPDX-License-Identifier: Apache-2.0
#include "train/plot.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <regex>

namespace phalanx {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

PlotPanel panel(std::vector<PlotPoint> points) {
  return {"Loss", "epoch", "loss", {{"train", std::move(points)}}, true};
}

// The picture; with PHALANX_PLOT_FOLDER set it is kept there, to be looked at.
std::string picture(const std::vector<PlotPanel>& panels, std::string_view title = "run") {
  const std::string svg = plot_svg(title, panels);
  if (const char* folder = std::getenv("PHALANX_PLOT_FOLDER"))
    std::ofstream(std::string(folder) + "/" +
                  testing::UnitTest::GetInstance()->current_test_info()->name() + ".svg")
        << svg;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  return svg;
}

std::string svg_of(std::vector<PlotPoint> points) { return picture({panel(std::move(points))}); }

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// The texts that end at the left of the axis: the tick labels of y.
std::vector<std::string> y_labels(const std::string& svg) {
  static const std::regex kLabel("text-anchor=\"end\">([^<]*)<");
  std::vector<std::string> labels;
  for (std::sregex_iterator i(svg.begin(), svg.end(), kLabel), end; i != end; ++i)
    labels.push_back((*i)[1]);
  return labels;
}

using Labels = std::vector<std::string>;

std::vector<MetricsLine> history(int epochs) {
  std::vector<MetricsLine> lines;
  for (int i = 1; i <= 20 * epochs; ++i) {
    const double epoch = i / 20.0;
    const double noise = 0.06 * std::sin(12.9898 * i);
    lines.push_back({i,
                     epoch,
                     "train",
                     {{"loss", 2.3 * std::exp(-epoch / 2) + 0.15 + noise},
                      {"accuracy", 0.97 - 0.8 * std::exp(-epoch / 2) + noise / 4}}});
    if (i % 20 == 0)
      lines.push_back({i,
                       epoch,
                       "test",
                       {{"loss", 2.3 * std::exp(-epoch / 2) + 0.3},
                        {"accuracy", 0.91 - 0.75 * std::exp(-epoch / 2)}}});
  }
  return lines;
}

TEST(Plot, ARunHasOnePanelForLossAndOneForAccuracy) {
  const auto panels = training_panels(history(10));
  ASSERT_EQ(panels.size(), 2U);
  for (const PlotPanel& p : panels) {
    ASSERT_EQ(p.curves.size(), 2U);
    EXPECT_EQ(p.curves[0].name, "train");
    EXPECT_EQ(p.curves[1].name, "test");
    EXPECT_EQ(p.curves[0].points.size(), 200U);
    EXPECT_EQ(p.curves[1].points.size(), 10U);
  }
  EXPECT_NEAR(panels[1].curves[1].points[0].y, 100 * (0.91 - 0.75 * std::exp(-0.5)), 1e-12);
  const std::string svg = picture(panels, "runs/fashion");
  EXPECT_EQ(count(svg, "<path"), 4U);
  EXPECT_EQ(count(svg, "<circle"), 20U) << "markers on the curves with few points only";
  for (const char* part : {">runs/fashion</text>", ">Loss<", ">Accuracy<", ">epoch<",
                           ">accuracy (%)<", ">loss (mean per sample)<", ">test: "})
    EXPECT_TRUE(has(svg, part)) << part;
  EXPECT_EQ(svg, plot_svg("runs/fashion", panels));
}

TEST(Plot, TicksAreRoundNumbers) {
  EXPECT_EQ(y_labels(svg_of({{0, 0.13}, {1, 0.97}})),
            (Labels{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(y_labels(svg_of({{0, 10}, {1, 30}})), (Labels{"10", "15", "20", "25", "30"}));
  EXPECT_EQ(y_labels(svg_of({{0, -1}, {1, 1}})), (Labels{"-1.0", "-0.5", "0.0", "0.5", "1.0"}));
}

TEST(Plot, ALossThatSpansMoreThanAHundredIsLogarithmic) {
  EXPECT_EQ(y_labels(svg_of({{0, 5}, {1, 0.2}, {2, 0.004}})),
            (Labels{"0.001", "0.01", "0.1", "1", "10"}));
  EXPECT_EQ(y_labels(svg_of({{0, 100}, {1, 0}})).front(), "0") << "0 has no logarithm";
  EXPECT_EQ(y_labels(svg_of({{0, 100}, {1, 1.5}})).front(), "0");
  PlotPanel accuracy = panel({{0, 0.1}, {1, 90}});
  accuracy.may_be_logarithmic = false;
  EXPECT_EQ(y_labels(picture({accuracy})).front(), "0");
}

TEST(Plot, ARunWithoutValuesSaysSo) {
  EXPECT_TRUE(has(picture(training_panels({})), "no values yet"));
  EXPECT_TRUE(has(svg_of({{0, kNan}, {1, kInfinity}}), "no values yet"));
  EXPECT_TRUE(has(picture({}), "</svg>"));
}

TEST(Plot, OnePointIsAMarkerWithinTheAxes) {
  PlotPanel accuracy = panel({{1, 100}});
  accuracy.least = 0;
  accuracy.most = 100;
  const std::string svg = picture({panel({{1, 0.5}}), accuracy, panel({{0, 0}})});
  EXPECT_EQ(count(svg, "<circle"), 3U);
  for (const std::string& label : y_labels(picture({accuracy})))
    EXPECT_LE(std::stod(label), 100) << label;
}

TEST(Plot, AValueThatIsNotFiniteIsAGap) {
  const std::string svg = svg_of({{0, 1}, {1, 2}, {2, kNan}, {3, 1}, {4, -kInfinity}, {5, 3}});
  const std::string path = svg.substr(svg.find("<path"));
  EXPECT_EQ(count(path.substr(0, path.find("fill")), "M"), 3U);
  EXPECT_EQ(count(svg, "<circle"), 5U - 1);
  EXPECT_TRUE(has(svg, "train: 3<"));
}

TEST(Plot, HugeTinyAndEqualValuesHaveFiniteTicks) {
  for (const double y : {1e299, -1e299, 1e-300, 5e-324, 0.0, 1e9})
    for (const double difference : {0.0, 1e-7, 1.0}) {
      const auto labels = y_labels(svg_of({{0, y}, {1, y + difference}}));
      EXPECT_GE(labels.size(), 1U) << y;
      EXPECT_LE(labels.size(), 20U) << y;
    }
  EXPECT_LE(y_labels(svg_of({{0, -1e300}, {1, 1e300}})).size(), 20U);
  EXPECT_LE(y_labels(svg_of({{0, 5e-324}, {1, 1e300}})).size(), 20U);
}

TEST(Plot, LongCurvesAreThinnedButKeepTheirPeaksAndGaps) {
  std::vector<PlotPoint> points;
  for (int i = 0; i < 100000; ++i) points.push_back({i * 0.001, 1 + 0.1 * std::sin(i * 0.01)});
  const std::size_t smooth = svg_of(points).size();
  EXPECT_LT(smooth, 100000U);
  points[54321].y = 9;
  EXPECT_EQ(y_labels(svg_of(points)).back(), "10");
  const std::string svg = svg_of(points);
  EXPECT_TRUE(std::regex_search(svg, std::regex("L[0-9.]+ 1[0-4][0-9]\\.[0-9] ")))
      << "the peak is drawn near the top";
  points[700].y = kNan;
  const std::string gap = svg_of(points);
  EXPECT_EQ(count(gap, " M") + count(gap, "\"M"), 2U);
}

TEST(Plot, NamesAreEscapedAndShortened) {
  PlotPanel p = panel({{0, 1}, {1, 2}});
  p.title = "<a & \"b\">";
  p.curves[0].name = std::string(23, 'x') + "äöü";
  const std::string svg = picture({p}, "tab\there");
  EXPECT_TRUE(has(svg, ">&lt;a &amp; &quot;b&quot;&gt;<"));
  EXPECT_TRUE(has(svg, ">tab here<"));
  EXPECT_TRUE(has(svg, std::string(23, 'x') + "…: 2<"));
}

TEST(Plot, ManyCurvesKeepTheLegendWithinThePanel) {
  PlotPanel p = panel({});
  p.curves.clear();
  for (int i = 0; i < 9; ++i)
    p.curves.push_back({"validation " + std::to_string(i), {{0, 1.0 + i}, {1, 0.5 * i + 0.1}}});
  const std::string svg = picture({p});
  EXPECT_EQ(count(svg, "<path"), 9U);
  EXPECT_LT(count(svg, ">validation "), 9U);
  EXPECT_GT(count(svg, ">validation "), 2U);
}

}  // namespace
}  // namespace phalanx
