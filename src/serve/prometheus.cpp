// SPDX-License-Identifier: Apache-2.0
#include "serve/prometheus.hpp"

#include <fmt/format.h>

namespace phalanx {

MetricLabels MetricLabels::with(std::string_view name, std::string_view value) const {
  MetricLabels more = *this;
  if (!more.text_.empty()) more.text_ += ',';
  more.text_ += name;
  more.text_ += "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') more.text_ += '\\';
    if (c == '\n')
      more.text_ += "\\n";
    else
      more.text_ += c;
  }
  more.text_ += '"';
  return more;
}

void PrometheusText::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void PrometheusText::sample(std::string_view suffix, const MetricLabels& labels, double value) {
  text_ += name_;
  text_ += suffix;
  if (!labels.text().empty()) text_ += fmt::format("{{{}}}", labels.text());
  text_ += fmt::format(" {}\n", value);
}

void PrometheusText::add(const MetricLabels& labels, double value) { sample({}, labels, value); }

void PrometheusText::add_histogram(const MetricLabels& labels, std::span<const double> bounds,
                                   std::span<const std::uint64_t> counts, double sum) {
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    below += counts[i];
    const std::string bound = i < bounds.size() ? fmt::format("{}", bounds[i]) : "+Inf";
    sample("_bucket", labels.with("le", bound), static_cast<double>(below));
  }
  sample("_sum", labels, sum);
  sample("_count", labels, static_cast<double>(below));
}

}  // namespace phalanx
