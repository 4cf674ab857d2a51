// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace phalanx {

/// Labels of a sample, escaped.
class MetricLabels {
 public:
  /// These, and one more.
  MetricLabels with(std::string_view name, std::string_view value) const;
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

/// Writes metrics in the text format of Prometheus, version 0.0.4: samples of a family together, behind its HELP and TYPE.
///
/// Source    prometheus.io/docs/instrumenting/exposition_formats
class PrometheusText {
 public:
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

  /// Begins a family; `type` is counter, gauge or histogram.
  void family(std::string_view name, std::string_view type, std::string_view help);
  /// A sample of the family that was begun last.
  void add(const MetricLabels& labels, double value);
  /// `counts`: observations per bucket, not summed up; one more than `bounds`, for what is above them all.
  void add_histogram(const MetricLabels& labels, std::span<const double> bounds,
                     std::span<const std::uint64_t> counts, double sum);

  const std::string& text() const noexcept { return text_; }

 private:
  void sample(std::string_view suffix, const MetricLabels& labels, double value);

  std::string name_, text_;
};

}  // namespace phalanx
