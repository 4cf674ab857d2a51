// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/predict_body.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "data/image.hpp"
#include "serve/inference.hpp"
#include "serve/integer_lists.hpp"
#include "serve/json_request.hpp"
#include "serve/pixel_bytes.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMostImages = 1024;
constexpr std::size_t kMostValues = kMostPredictBytes / sizeof(float);

/// A picture as the model takes it: its channels and size, pixels 0 to 255.
void append_picture(std::span<const std::byte> bytes, const Shape& sample, PredictRows& rows) {
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

/// Bytes are a quarter of what ranks would read, and the way that they take with pixels anyway. Empty: not all are bytes.
std::vector<std::byte> as_pixels(std::span<const float> values) {
  std::vector<std::byte> pixels(values.size());
  if (!to_pixel_bytes(values, reinterpret_cast<std::uint8_t*>(pixels.data()))) pixels.clear();
  return pixels;
}

/// The lists must be one sample or a list of samples, nested as the sample's shape or flat.
void take_numbers(NumberList numbers, const Manifest& manifest, PredictRows& rows) {
  const Shape& sample = manifest.input.shape;
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
  if (manifest.is_image) rows.pixels = as_pixels(numbers.values);
  if (rows.pixels.empty()) rows.values = std::move(numbers.values);
}

void require_images(const Manifest& manifest) {
  if (!manifest.is_image)
    throw Refusal(400, fmt::format("model '{}' takes numbers, no images", manifest.name));
}

/// Of {"input": lists of whole numbers} and nothing else, as most clients send pixels.
std::optional<NumberList> read_input_alone(std::string_view body) {
  const auto skip_space = [&] {
    body.remove_prefix(std::min(body.find_first_not_of(" \n\r\t"), body.size()));
  };
  const auto skip = [&](std::string_view what) {
    const bool is_there = body.starts_with(what);
    if (is_there) body.remove_prefix(what.size());
    skip_space();
    return is_there;
  };
  skip_space();
  if (!skip("{") || (!skip("\"input\"") && !skip("\"inputs\"")) || !skip(":")) return std::nullopt;
  auto input = read_integer_lists(body, kMostValues);
  if (!input) return std::nullopt;
  body.remove_prefix(input->size_bytes);
  skip_space();
  if (!skip("}") || !body.empty()) return std::nullopt;
  return std::move(input->list);
}

PredictRows read_json(const std::string& body, const Manifest& manifest) {
  PredictRows rows;
  if (auto input = read_input_alone(body)) {
    take_numbers(std::move(*input), manifest, rows);
    return rows;
  }
  JsonBody json(body);
  const auto take_image = [&](std::string_view text) {
    require_images(manifest);
    const std::string picture = decode_base64(text);
    append_picture(std::as_bytes(std::span(picture)), manifest.input.shape, rows);
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
      take_numbers(read_numbers(value, key, kMostValues), manifest, rows);
    }
  }
  json.check_end();
  if (!has_input) throw Refusal(400, R"(body: expected {"input": [...]} or {"image": "base64"})");
  if (rows.count == 0) throw Refusal(400, "images: the list is empty");
  return rows;
}

}  // namespace

bool is_picture(std::string_view body) noexcept {
  return body.starts_with("\xff\xd8\xff") || body.starts_with("\x89PNG\r\n\x1a\n");
}

PredictRows read_predict_body(const std::string& body, const Manifest& manifest) {
  if (!is_picture(body)) return read_json(body, manifest);
  require_images(manifest);
  PredictRows rows;
  rows.is_single = true;
  append_picture(std::as_bytes(std::span(body)), manifest.input.shape, rows);
  return rows;
}

}  // namespace phalanx
