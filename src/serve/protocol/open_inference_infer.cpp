// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "serve/protocol/open_inference.hpp"
#include "serve/protocol/open_inference_answer.hpp"
#include "serve/protocol/open_inference_request.hpp"

namespace phalanx {
namespace {

constexpr std::chrono::microseconds kLongestTimeout = std::chrono::hours(1);

InferSchema schema_of(const ServedVersion& version) {
  const Manifest& m = version.manifest;
  InferSchema schema;
  schema.model = version.model;
  schema.input = m.input.name;
  schema.output = m.output.name;
  schema.sample = m.input.shape;
  schema.outputs = m.output.shape.numel();
  schema.max_batch_size = version.config.max_batch_size;
  schema.takes_u8 = m.is_image;
  return schema;
}

/// A request on its way from the connection to the ranks.
class Infer {
 public:
  Infer(InferenceService& service, HttpExchange& exchange, ServedVersionPtr version,
        std::size_t most_body_bytes)
      : service_(service),
        exchange_(exchange),
        version_(std::move(version)),
        schema_(schema_of(*version_)),
        most_body_bytes_(most_body_bytes) {}

  Awaitable<HttpResponse> run() {
    const std::string_view json_size = exchange_.head().header(kJsonSizeHeaderLower);
    if (exchange_.is_plain() && !json_size.empty())
      co_await read_plain(json_size);
    else
      co_await read_whole(json_size);
    if (!request_.is_u8) check_finite(values(), schema_);
    InferenceService::Job job;
    job.version = version_;
    job.input = input_;
    job.rows = request_.rows;
    job.is_u8 = request_.is_u8;
    job.priority = priority();
    job.timeout = timeout();
    const InferencePtr inference = co_await service_.infer(exchange_, job);
    co_return infer_response(*version_, schema_, request_, inference->output);
  }

 private:
  /// The tensor goes from the connection to where the ranks read it.
  Awaitable<void> read_plain(std::string_view json_size) {
    const std::uint64_t length = *exchange_.head().content_length;
    if (length > most_body_bytes_)
      throw Refusal(413, fmt::format("the body has {} bytes, at most {} are taken", length,
                                     most_body_bytes_));
    const std::size_t size = *parse_json_size(json_size, length);
    if (size == 0) {
      request_ = infer_request_of_raw(length, schema_);
    } else {
      const std::string json = co_await exchange_.read_part(size);
      co_await parse(json, length - size);
    }
    if (request_.is_raw) exchange_.expect(input_bytes(request_, schema_));
    allocate();
    if (!request_.is_raw) co_return;
    const std::span<std::byte> rows(input_->data(), input_bytes(request_, schema_));
    co_await exchange_.read_into(rows);
  }

  /// Where the body is compressed, chunked, or JSON alone.
  Awaitable<void> read_whole(std::string_view json_size) {
    const std::string body = co_await exchange_.read_text(most_body_bytes_);
    const std::size_t size = parse_json_size(json_size, body.size()).value_or(body.size());
    const std::string_view json = std::string_view(body).substr(0, size);
    const std::string_view raw = std::string_view(body).substr(size);
    if (json.empty() && !json_size.empty())
      request_ = infer_request_of_raw(raw.size(), schema_);
    else
      co_await parse(json, raw.size());
    allocate();
    if (request_.is_raw) std::memcpy(input_->data(), raw.data(), raw.size());
  }

  /// Long lists of numbers take milliseconds, during which other connections want to be served.
  Awaitable<void> parse(std::string_view json, std::uint64_t raw_bytes) {
    constexpr std::size_t kLong = std::size_t{128} << 10;
    const auto work = [this, json, raw_bytes] {
      request_ = parse_infer_json(json, raw_bytes, schema_);
    };
    if (json.size() > kLong)
      co_await exchange_.run_aside(work);
    else
      work();
  }

  void allocate() {
    input_ = service_.allocate_rows(*version_, request_.rows, request_.is_u8);
    if (request_.is_raw) return;
    if (request_.is_u8)
      std::memcpy(input_->data(), request_.pixels.data(), request_.pixels.size());
    else
      std::memcpy(input_->data(), request_.values.data(), request_.values.size() * sizeof(float));
    // The request may wait for long.
    request_.pixels = {};
    request_.values = {};
  }

  std::span<const float> values() const {
    return {reinterpret_cast<const float*>(input_->data()),
            input_bytes(request_, schema_) / sizeof(float)};
  }

  int priority() const {
    if (request_.priority == 0) return 0;
    return static_cast<int>(
               std::min(request_.priority, static_cast<std::uint64_t>(kPriorityLevels))) -
           kDefaultPriority;
  }

  std::chrono::microseconds timeout() const {
    const auto longest = static_cast<std::uint64_t>(kLongestTimeout.count());
    return std::chrono::microseconds(std::min(request_.timeout_us, longest));
  }

  InferenceService& service_;
  HttpExchange& exchange_;
  ServedVersionPtr version_;
  InferSchema schema_;
  std::size_t most_body_bytes_;
  InferRequest request_;
  SharedBlock input_;
};

Awaitable<HttpResponse> handle(InferenceService& service, HttpExchange& exchange,
                               const RouteValues& values, std::size_t most_body_bytes) {
  const auto which = values.find("version");
  const ServedVersionPtr version = service.registry().resolve(
      values.find("model")->second, which == values.end() ? std::string() : which->second);
  exchange.model = version->model;
  exchange.version = fmt::format("{}", version->version);
  Infer infer(service, exchange, version, most_body_bytes);
  co_return co_await infer.run();
}

}  // namespace

std::vector<Route> open_inference_infer_routes(InferenceService& service,
                                               std::size_t most_body_bytes) {
  const auto call = [&service, most_body_bytes](HttpExchange& exchange, const RouteValues& values) {
    return handle(service, exchange, values, most_body_bytes);
  };
  return {{"POST", "/v2/models/{model}/infer", Access::kInfer,
           "Open Inference Protocol: answers tensors, as JSON or binary", call, "InferAnswer",
           "InferRequest"},
          {"POST", "/v2/models/{model}/versions/{version}/infer", Access::kInfer,
           "The same by a version or an alias", call, "InferAnswer", "InferRequest"}};
}

}  // namespace phalanx
