// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/predict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "serve/json_answer.hpp"
#include "serve/protocol/predict_body.hpp"

namespace phalanx {
namespace {

std::string label(const Manifest& m, std::size_t i) {
  return m.labels.empty() ? fmt::format("{}", i) : m.labels[i];
}

/// Of classifiers the class and every probability by its name, most probable first.
void append_answer(std::string& to, const Manifest& m, const float* y, std::size_t outputs) {
  to += "{\"output\":";
  append_json_numbers(to, {y, outputs});
  if (m.task == Task::kClassification) {
    std::vector<std::size_t> order(outputs);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return y[a] > y[b]; });
    to += ",\"class\":" + json_text(label(m, order[0])) +
          fmt::format(",\"class_index\":{},\"probabilities\":{{", order[0]);
    for (std::size_t i = 0; i < outputs; ++i) {
      to += (i > 0 ? "," : "") + json_text(label(m, order[i])) + ":";
      append_json_number(to, y[order[i]]);
    }
    to += '}';
  } else if (m.task == Task::kBinary) {
    to += ",\"answer\":[";
    for (std::size_t i = 0; i < outputs; ++i)
      to += fmt::format("{}{}", i > 0 ? "," : "", static_cast<double>(y[i]) >= m.threshold ? 1 : 0);
    to += ']';
  }
  to += '}';
}

/// {"model", "version", "output", ...} for one sample; {"model", "version", "outputs": [...]} for a list.
HttpResponse answer(const ServedVersion& version, const Inference& inference, bool is_single) {
  HttpResponse response;
  std::string& body = response.body;
  const std::size_t outputs = version.output_numel();
  const auto* y = reinterpret_cast<const float*>(inference.output->data());
  body =
      fmt::format("{{\"model\":{},\"version\":\"{}\",", json_text(version.model), version.version);
  if (is_single) {
    std::string one;
    append_answer(one, version.manifest, y, outputs);
    body.append(one, 1);
    return response;
  }
  body += "\"predictions\":[";
  for (std::int64_t i = 0; i < inference.rows; ++i) {
    if (i > 0) body += ',';
    append_answer(body, version.manifest, y + static_cast<std::size_t>(i) * outputs, outputs);
  }
  body += "]}";
  return response;
}

class Predict {
 public:
  explicit Predict(InferenceService& service) : service_(service) {}

  Awaitable<HttpResponse> handle(HttpExchange& exchange, const RouteValues& values) const {
    const auto which = values.find("version");
    const ServedVersionPtr version = service_.registry().resolve(
        values.find("model")->second, which == values.end() ? std::string() : which->second);
    InferenceService::Job job;
    job.version = version;
    const bool is_single = co_await read_rows(exchange, job);
    const InferencePtr inference = co_await service_.infer(exchange, job);
    co_return answer(*version, *inference, is_single);
  }

 private:
  /// The body, as rows where the ranks read them. What they were made of is gone before the request waits. True for one sample
  /// that is no list.
  Awaitable<bool> read_rows(HttpExchange& exchange, InferenceService::Job& job) const {
    const std::string body = co_await exchange.read_text(kMostPredictBytes);
    PredictRows rows;
    const auto read = [&] { rows = read_predict_body(body, job.version->manifest); };
    // A picture takes milliseconds to decode, during which other connections want to be served.
    constexpr std::size_t kLong = std::size_t{256} << 10;
    if (is_picture(body) || body.size() > kLong || body.find("\"image") != std::string::npos)
      co_await exchange.run_aside(read);
    else
      read();
    job.rows = rows.count;
    job.is_u8 = !rows.pixels.empty();
    job.input = service_.allocate_rows(*job.version, job.rows, job.is_u8);
    if (job.is_u8)
      std::memcpy(job.input->data(), rows.pixels.data(), rows.pixels.size());
    else
      std::memcpy(job.input->data(), rows.values.data(), rows.values.size() * sizeof(float));
    co_return rows.is_single;
  }

  InferenceService& service_;
};

}  // namespace

std::vector<Route> predict_routes(InferenceService& service) {
  const auto handle = [predict = Predict(service)](HttpExchange& exchange,
                                                   const RouteValues& values) {
    return predict.handle(exchange, values);
  };
  return {{"POST", "/predict/{model}", Access::kInfer,
           "Answers one sample or a list, as JSON, or a JPEG or PNG file", handle, "PredictAnswer",
           "PredictRequest"},
          {"POST", "/predict/{model}/{version}", Access::kInfer,
           "The same by a version or an alias", handle, "PredictAnswer", "PredictRequest"}};
}

}  // namespace phalanx
