// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/predict.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>

#include "core/error.hpp"
#include "data/image.hpp"
#include "serve/json_request.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;
constexpr std::size_t kMostImages = 1024;

/// What a request asks for, as rows in the units of the data set.
struct Rows {
  std::vector<float> values;      // or, of pictures:
  std::vector<std::byte> pixels;  // [rows, C, H, W]
  std::int64_t count = 0;
  bool is_single = false;  // one sample, not a list of one
};

bool is_picture(std::string_view body) {
  return body.starts_with("\xff\xd8\xff") || body.starts_with("\x89PNG\r\n\x1a\n");
}

/// A picture as the model takes it: its channels and size, pixels 0 to 255.
void append_picture(std::span<const std::byte> bytes, const Shape& sample, Rows& rows) {
  try {
    Image image = with_channels(decode_image(bytes, "image"), sample[0]);
    append_planes(resized(image, sample[1], sample[2]), rows.pixels);
  } catch (const InvalidInput& e) {
    throw Refusal(400, e.what());
  }
  ++rows.count;
}

std::string decode_base64(std::string_view text) {
  if (text.starts_with("data:")) {
    const std::size_t comma = text.find(',');
    if (comma == std::string_view::npos) throw Refusal(400, "image: the data URL has no data");
    text = text.substr(comma + 1);
  }
  std::string out(text.size() / 4 * 3 + 3, '\0');
  const int size = ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  if (size < 0 || text.empty() || text.size() % 4 != 0) throw Refusal(400, "image: is not base64");
  const auto padding = static_cast<std::size_t>(text.ends_with("==")  ? 2
                                                : text.ends_with('=') ? 1
                                                                      : 0);
  out.resize(static_cast<std::size_t>(size) - padding);
  return out;
}

/// The lists must be one sample or a list of samples, nested as the sample's shape or flat.
void take_numbers(NumberList numbers, const Shape& sample, Rows& rows) {
  const auto all = sample.sizes();
  const std::vector<std::int64_t> nested(all.begin(), all.end()), flat = {sample.numel()};
  const auto is = [&](const std::vector<std::int64_t>& shape) { return numbers.sizes == shape; };
  rows.is_single = is(nested) || is(flat);
  const std::int64_t first = numbers.sizes.empty() ? 0 : numbers.sizes[0];
  const auto rows_of = [&](std::vector<std::int64_t> shape) {
    shape.insert(shape.begin(), first);
    return is(shape);
  };
  if (!rows.is_single && !rows_of(nested) && !rows_of(flat))
    throw Refusal(400, fmt::format("input: expected {} or a list of such, found {}", sample.str(),
                                   numbers.sizes.size() <= 8 ? Shape(std::span(numbers.sizes)).str()
                                                             : "deeper lists"));
  rows.count = rows.is_single ? 1 : first;
  rows.values = std::move(numbers.values);
}

Rows read_json(const std::string& body, const ServedVersion& version) {
  Rows rows;
  JsonBody json(body);
  const Shape& sample = version.manifest.input.shape;
  const auto take_image = [&](std::string_view text) {
    if (!version.manifest.is_image)
      throw Refusal(400, fmt::format("model '{}' takes numbers, no images", version.model));
    const std::string picture = decode_base64(text);
    append_picture(std::as_bytes(std::span(picture)), sample, rows);
  };
  bool has_input = false;
  for (auto field : json.root()) {
    const std::string_view key = json_value(field.unescaped_key(), "body");
    const bool is_known = key == "input" || key == "inputs" || key == "image" || key == "images";
    if (!is_known) continue;
    if (has_input) throw Refusal(400, "body: the input is given more than once");
    has_input = true;
    auto value = json_value(simdjson::simdjson_result(field.value()), key);
    if (key == "image") {
      rows.is_single = true;
      take_image(json_value(value.get_string(), key));
    } else if (key == "images") {
      for (auto element : json_value(value.get_array(), key)) {
        if (rows.count == kMostImages) throw Refusal(400, "images: too many");
        take_image(json_value(element.get_string(), key));
      }
    } else {
      take_numbers(read_numbers(value, key, kMostBytes / sizeof(float)), sample, rows);
    }
  }
  json.check_end();
  if (!has_input) throw Refusal(400, R"(body: expected {"input": [...]} or {"image": "base64"})");
  if (rows.count == 0) throw Refusal(400, "images: the list is empty");
  return rows;
}

void append_number(std::string& to, float value) {
  std::array<char, 32> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  to.append(digits.data(), end);
}

void append_list(std::string& to, const float* values, std::size_t count) {
  to += '[';
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) to += ',';
    append_number(to, values[i]);
  }
  to += ']';
}

std::string label(const Manifest& m, std::size_t i) {
  return m.labels.empty() ? fmt::format("{}", i) : m.labels[i];
}

/// Of classifiers the class and every probability by its name, most probable first.
void append_answer(std::string& to, const Manifest& m, const float* y, std::size_t outputs) {
  to += "{\"output\":";
  append_list(to, y, outputs);
  if (m.task == Task::kClassification) {
    std::vector<std::size_t> order(outputs);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return y[a] > y[b]; });
    to += ",\"class\":" + json_text(label(m, order[0])) +
          fmt::format(",\"class_index\":{},\"probabilities\":{{", order[0]);
    for (std::size_t i = 0; i < outputs; ++i) {
      to += (i > 0 ? "," : "") + json_text(label(m, order[i])) + ":";
      append_number(to, y[order[i]]);
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
HttpResponse answer(const ServedVersion& version, const Rows& rows, const Inference& inference) {
  HttpResponse response;
  std::string& body = response.body;
  const std::size_t outputs = version.output_numel();
  const auto* y = reinterpret_cast<const float*>(inference.output->data());
  body =
      fmt::format("{{\"model\":{},\"version\":\"{}\",", json_text(version.model), version.version);
  if (rows.is_single) {
    std::string one;
    append_answer(one, version.manifest, y, outputs);
    body.append(one, 1);
    return response;
  }
  body += "\"predictions\":[";
  for (std::int64_t i = 0; i < rows.count; ++i) {
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
    const std::string body = co_await exchange.read_text(kMostBytes);
    const auto rows = std::make_shared<Rows>();
    const bool is_image = is_picture(body);
    if (is_image && !version->manifest.is_image)
      throw Refusal(400, fmt::format("model '{}' takes numbers, no images", version->model));
    const auto read = [&] {
      if (is_image) {
        rows->is_single = true;
        append_picture(std::as_bytes(std::span(body)), version->manifest.input.shape, *rows);
      } else {
        *rows = read_json(body, *version);
      }
    };
    // A picture takes milliseconds to decode, during which other connections want to be served.
    constexpr std::size_t kLong = std::size_t{256} << 10;
    if (is_image || body.size() > kLong || body.find("\"image") != std::string::npos)
      co_await service_.run_aside(read);
    else
      read();
    const bool is_u8 = !rows->pixels.empty();
    const SharedBlock input = service_.allocate_rows(*version, rows->count, is_u8);
    if (is_u8)
      std::memcpy(input->data(), rows->pixels.data(), rows->pixels.size());
    else
      std::memcpy(input->data(), rows->values.data(), rows->values.size() * sizeof(float));
    InferenceService::Job job;
    job.version = version;
    job.input = input;
    job.rows = rows->count;
    job.is_u8 = is_u8;
    const InferencePtr inference = co_await service_.infer(exchange, job);
    co_return answer(*version, *rows, *inference);
  }

 private:
  InferenceService& service_;
};

}  // namespace

std::vector<Route> predict_routes(InferenceService& service) {
  const auto handle = [predict = Predict(service)](HttpExchange& exchange,
                                                   const RouteValues& values) {
    return predict.handle(exchange, values);
  };
  return {{"POST", "/predict/{model}", Access::kInfer,
           "Answers one sample or a list, as JSON, or a JPEG or PNG file", handle},
          {"POST", "/predict/{model}/{version}", Access::kInfer,
           "The same by a version or an alias", handle}};
}

}  // namespace phalanx
