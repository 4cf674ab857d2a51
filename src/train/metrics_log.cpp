// SPDX-License-Identifier: Apache-2.0
#include "train/metrics_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"

namespace phalanx {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kTextSuffix = "_text";

std::string non_finite_text(double value) {
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

double non_finite_value(const std::string& text) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (text == "inf") return kInfinity;
  return text == "-inf" ? -kInfinity : std::numeric_limits<double>::quiet_NaN();
}

void put(Json& line, const std::string& name, double value) {
  if (std::isfinite(value)) {
    line[name] = value;
  } else {
    line[name] = nullptr;
    line[name + std::string(kTextSuffix)] = non_finite_text(value);
  }
}

double number_at(const Json& line, const std::string& name) {
  const Json& value = line.at(name);
  if (value.is_number()) return value.get<double>();
  return non_finite_value(line.at(name + std::string(kTextSuffix)).get<std::string>());
}

MetricsLine parse_line(const std::string& text) {
  const Json json = Json::parse(text);
  MetricsLine line;
  line.step = json.at("step").get<std::int64_t>();
  line.epoch = number_at(json, "epoch");
  line.split = json.at("split").get<std::string>();
  for (const auto& [name, value] : json.items()) {
    if (name == "step" || name == "epoch" || name == "split") continue;
    if (value.is_number() || value.is_null()) line.values.emplace_back(name, number_at(json, name));
  }
  return line;
}

// Calls visit(line, offset of its end) for every finished line until it returns false.
template <class Visit>
void for_each_line(const std::string& path, Visit&& visit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("cannot open '{}': {}", path, std::strerror(errno)));
  std::string text;
  std::uintmax_t end = 0;
  for (int number = 1; std::getline(file, text) && !file.eof(); ++number) {
    end += text.size() + 1;
    try {
      if (!visit(parse_line(text), end)) return;
    } catch (const Json::exception& e) {
      throw InvalidInput(fmt::format("{}:{}: expected an object with step, epoch and split: {}",
                                     path, number, e.what()));
    }
  }
  if (file.bad()) throw IoError(fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
}

void cut_after(const std::string& path, std::int64_t step) {
  std::uintmax_t kept = 0;
  for_each_line(path, [&](const MetricsLine& line, std::uintmax_t end) {
    if (line.step > step) return false;
    kept = end;
    return true;
  });
  std::error_code error;
  std::filesystem::resize_file(path, kept, error);
  if (error) throw IoError(fmt::format("cannot shorten '{}': {}", path, error.message()));
}

}  // namespace

std::optional<double> MetricsLine::value(std::string_view name) const {
  const auto found = std::find_if(values.begin(), values.end(),
                                  [name](const auto& entry) { return entry.first == name; });
  return found == values.end() ? std::nullopt : std::optional(found->second);
}

MetricsLog::MetricsLog(std::string path, std::optional<std::int64_t> resume_step)
    : path_(std::move(path)), file_(nullptr, &std::fclose) {
  if (resume_step && std::filesystem::exists(path_)) cut_after(path_, *resume_step);
  file_.reset(std::fopen(path_.c_str(), resume_step ? "ab" : "wb"));
  if (!file_) throw IoError(fmt::format("cannot open '{}': {}", path_, std::strerror(errno)));
}

void MetricsLog::write(std::int64_t step, double epoch, std::string_view split,
                       std::span<const Metric> values) {
  Json line;
  line["step"] = step;
  put(line, "epoch", epoch);
  line["split"] = split;
  for (const auto& [name, value] : values) {
    require(!line.contains(name), fmt::format("metric '{}' occurs twice", name));
    put(line, std::string(name), value);
  }
  // A split's name may come from a file: bytes that are not UTF-8 are replaced, not refused.
  const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size() &&
                       std::fflush(file_.get()) == 0;
  if (!written) throw IoError(fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
}

std::vector<MetricsLine> read_metrics(const std::string& path) {
  std::vector<MetricsLine> lines;
  for_each_line(path, [&](MetricsLine line, std::uintmax_t) {
    lines.push_back(std::move(line));
    return true;
  });
  return lines;
}

}  // namespace phalanx
