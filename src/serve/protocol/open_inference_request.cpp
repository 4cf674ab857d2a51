// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/open_inference_request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include "serve/inference.hpp"
#include "serve/json_request.hpp"

namespace phalanx {
namespace {

namespace sj = simdjson::ondemand;

static_assert(std::endian::native == std::endian::little, "tensors travel as they lie in memory");

constexpr std::size_t kMostIdBytes = 1024;
constexpr std::size_t kMostEcho = 64;  // of a client's text in an error

template <class... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) {
  throw Refusal(400, fmt::format(text, std::forward<Args>(args)...));
}

std::string_view cut(std::string_view text) { return text.substr(0, kMostEcho); }

class InferParser {
 public:
  InferParser(std::uint64_t raw_bytes, const InferSchema& schema)
      : raw_bytes_(raw_bytes), schema_(schema), what_(fmt::format("input '{}'", schema.input)) {}

  InferRequest parse(std::string_view json) {
    JsonBody body(json);
    for (auto field : body.root()) {
      const std::string_view key = json_value(field.unescaped_key(), "body");
      if (key == "inputs") {
        once(kInputs, key);
        read_inputs(json_value(field.value().get_array(), key));
      } else if (key == "outputs") {
        once(kOutputs, key);
        read_outputs(json_value(field.value().get_array(), key));
      } else if (key == "parameters") {
        once(kParameters, key);
        read_parameters(json_value(field.value().get_object(), key));
      } else if (key == "id") {
        once(kId, key);
        const std::string_view id = json_value(field.value().get_string(), key);
        if (id.size() > kMostIdBytes) refuse("id: has more than {} bytes", kMostIdBytes);
        request_.id = std::string(id);
      }
    }
    body.check_end();
    if ((seen_ & kInput) == 0)
      refuse("model '{}' takes 1 input, '{}', and the request has none", schema_.model,
             schema_.input);
    if (raw_bytes_ != binary_bytes_.value_or(0))
      refuse("{} bytes stand behind the JSON, but binary_data_size adds up to {}", raw_bytes_,
             binary_bytes_.value_or(0));
    request_.is_answer_binary = output_is_binary_.value_or(binary_data_output_);
    return std::move(request_);
  }

 private:
  enum Seen : unsigned {
    kInputs = 1,
    kOutputs = 2,
    kParameters = 4,
    kId = 8,
    kInput = 16,
    kName = 32,
    kShape = 64,
    kDatatype = 128,
    kData = 256,
    kInputParameters = 512,
  };

  void once(Seen member, std::string_view key) {
    if ((seen_ & member) != 0) refuse("'{}' is given more than once", key);
    seen_ |= member;
  }

  // --- inputs

  void read_inputs(sj::array inputs) {
    for (auto element : inputs) {
      sj::object input = json_value(element.get_object(), "inputs");
      if ((seen_ & kInput) != 0) refuse_second(input);
      seen_ |= kInput;
      read_input(input);
      check_input();
    }
  }

  [[noreturn]] void refuse_second(sj::object& input) const {
    const std::string_view name =
        json_value(input.find_field_unordered("name").get_string(), "name");
    if (name == schema_.input) refuse("{}: is given more than once", what_);
    refuse("model '{}' takes 1 input, '{}'; '{}' is given as well", schema_.model, schema_.input,
           cut(name));
  }

  void read_input(sj::object& input) {
    for (auto field : input) {
      const std::string_view key = json_value(field.unescaped_key(), what_);
      if (key == "name") {
        once(kName, key);
        const std::string_view name = json_value(field.value().get_string(), "name");
        if (name != schema_.input)
          refuse("model '{}' has no input '{}', it takes '{}'", schema_.model, cut(name),
                 schema_.input);
      } else if (key == "shape") {
        once(kShape, key);
        read_shape(json_value(field.value().get_array(), what_));
      } else if (key == "datatype") {
        once(kDatatype, key);
        read_datatype(json_value(field.value().get_string(), what_));
      } else if (key == "data") {
        once(kData, key);
        numbers_ = read_numbers(json_value(simdjson::simdjson_result(field.value()), key), what_,
                                kMostValues);
      } else if (key == "parameters") {
        once(kInputParameters, key);
        read_input_parameters(json_value(field.value().get_object(), what_));
      }
    }
  }

  void read_shape(sj::array sizes) {
    rank_ = 0;
    for (auto element : sizes) {
      std::int64_t size = 0;
      if (element.get_int64().get(size))
        refuse("{}: its shape must be a list of whole numbers", what_);
      if (size < 0) refuse("{}: its shape has the negative size {}", what_, size);
      if (rank_ == shape_.size())
        refuse("{}: its shape has more than {} sizes", what_, shape_.size());
      shape_[rank_++] = size;
    }
  }

  void read_datatype(std::string_view datatype) {
    request_.is_u8 = datatype == "UINT8" && schema_.takes_u8;
    if (!request_.is_u8 && datatype != "FP32")
      refuse("{}: has datatype '{}', but model '{}' takes FP32{}", what_, cut(datatype),
             schema_.model, schema_.takes_u8 ? " or UINT8" : "");
  }

  void read_input_parameters(sj::object parameters) {
    for (auto field : parameters) {
      const std::string_view key = json_value(field.unescaped_key(), what_);
      if (key == "binary_data_size") {
        if (binary_bytes_) refuse("{}: binary_data_size is given more than once", what_);
        std::uint64_t size = 0;
        if (field.value().get_uint64().get(size))
          refuse("{}: binary_data_size must be a whole number from 0", what_);
        binary_bytes_ = size;
      }
      refuse_shared_memory(key, what_);
    }
  }

  static void refuse_shared_memory(std::string_view key, std::string_view what) {
    if (key.starts_with("shared_memory_"))
      refuse("{}: shared memory is not supported, send the tensor", what);
  }

  std::string given_shape() const {
    return fmt::format("[{}]", fmt::join(shape_.begin(), shape_.begin() + rank_, ", "));
  }

  void check_input() {
    const auto need = [this](Seen member, const char* name) {
      if ((seen_ & member) == 0) refuse("{}: '{}' is missing", what_, name);
    };
    need(kName, "name");
    need(kShape, "shape");
    need(kDatatype, "datatype");
    const auto sample = schema_.sample.sizes();
    if (rank_ != sample.size() + 1 || !std::equal(sample.begin(), sample.end(), &shape_[1]))
      refuse("{}: has shape {}, but model '{}' takes [-1, {}]", what_, given_shape(), schema_.model,
             fmt::join(sample, ", "));
    request_.rows = shape_[0];
    if (request_.rows < 1 || request_.rows > schema_.max_batch_size)
      refuse("{}: has {} rows, but model '{}' takes 1 to {} at once", what_, request_.rows,
             schema_.model, schema_.max_batch_size);
    if (request_.rows > static_cast<std::int64_t>(kMostValues) / schema_.sample.numel())
      refuse("{}: has more than {} values", what_, kMostValues);
    const bool has_data = (seen_ & kData) != 0;
    if (has_data == binary_bytes_.has_value())
      refuse("{}: has {} 'data' {} binary_data_size", what_, has_data ? "both" : "neither",
             has_data ? "and" : "nor");
    request_.is_raw = !has_data;
    if (has_data)
      take_numbers();
    else if (*binary_bytes_ != input_bytes(request_, schema_))
      refuse("{}: binary_data_size is {}, but shape {} of {} has {} bytes", what_, *binary_bytes_,
             given_shape(), request_.is_u8 ? "UINT8" : "FP32", input_bytes(request_, schema_));
  }

  /// Lists nested as the shape is, or one flat list.
  void take_numbers() {
    const std::vector<std::int64_t> nested(shape_.begin(), shape_.begin() + rank_);
    const std::vector<std::int64_t> flat{request_.rows * schema_.sample.numel()};
    if (numbers_.sizes != nested && numbers_.sizes != flat)
      refuse("{}: has shape {}, but its data is a list of [{}]", what_, given_shape(),
             fmt::join(numbers_.sizes, ", "));
    if (!request_.is_u8) {
      request_.values = std::move(numbers_.values);
      return;
    }
    request_.pixels.reserve(numbers_.values.size());
    for (const float value : numbers_.values) {
      if (!(value >= 0 && value <= 255) || value != std::floor(value))
        refuse("{}: {} is no value of UINT8", what_, value);
      request_.pixels.push_back(static_cast<std::uint8_t>(value));
    }
  }

  // --- outputs and parameters

  void read_outputs(sj::array outputs) {
    bool has_output = false;
    for (auto element : outputs) {
      sj::object output = json_value(element.get_object(), "outputs");
      bool has_name = false, has_parameters = false;
      for (auto field : output) {
        const std::string_view key = json_value(field.unescaped_key(), "outputs");
        if (key == "name") {
          if (std::exchange(has_name, true)) refuse("'name' of an output is given more than once");
          const std::string_view name = json_value(field.value().get_string(), "name");
          if (name != schema_.output)
            refuse("model '{}' has no output '{}', it has '{}'", schema_.model, cut(name),
                   schema_.output);
          if (std::exchange(has_output, true))
            refuse("output '{}' is asked for more than once", schema_.output);
        } else if (key == "parameters") {
          if (std::exchange(has_parameters, true))
            refuse("'parameters' of an output is given more than once");
          read_output_parameters(json_value(field.value().get_object(), "outputs"));
        }
      }
      if (!has_name) refuse("'name' of an output is missing");
    }
  }

  void read_output_parameters(sj::object parameters) {
    for (auto field : parameters) {
      const std::string_view key = json_value(field.unescaped_key(), "outputs");
      if (key == "binary_data") {
        bool value = false;
        if (field.value().get_bool().get(value)) refuse("binary_data must be true or false");
        output_is_binary_ = value;
      } else if (key == "classification") {
        std::uint64_t count = 0;
        if (field.value().get_uint64().get(count))
          refuse("classification must be a whole number from 0");
        request_.classes =
            static_cast<std::int64_t>(std::min(count, static_cast<std::uint64_t>(schema_.outputs)));
      }
      refuse_shared_memory(key, "outputs");
    }
  }

  void read_parameters(sj::object parameters) {
    for (auto field : parameters) {
      const std::string_view key = json_value(field.unescaped_key(), "parameters");
      if (key == "binary_data_output") {
        if (field.value().get_bool().get(binary_data_output_))
          refuse("binary_data_output must be true or false");
      } else if (key == "priority") {
        if (field.value().get_uint64().get(request_.priority))
          refuse("priority must be a whole number from 0");
      } else if (key == "timeout") {
        if (field.value().get_uint64().get(request_.timeout_us))
          refuse("timeout must be a whole number of microseconds from 0");
      } else if (key.starts_with("triton_")) {
        refuse("parameters: '{}' is reserved", cut(key));
      }
    }
  }

  static constexpr std::size_t kMostValues = std::size_t{1} << 28;

  std::uint64_t raw_bytes_;
  const InferSchema& schema_;
  std::string what_;
  InferRequest request_;
  unsigned seen_ = 0;
  std::array<std::int64_t, Shape::kMaxRank + 1> shape_{};
  std::size_t rank_ = 0;
  std::optional<std::uint64_t> binary_bytes_;
  NumberList numbers_;
  bool binary_data_output_ = false;
  std::optional<bool> output_is_binary_;
};

}  // namespace

std::optional<std::size_t> parse_json_size(std::string_view header, std::uint64_t body_bytes) {
  if (header.empty()) return {};
  std::uint64_t size = 0;
  const char* end = header.data() + header.size();
  const auto [at, error] = std::from_chars(header.data(), end, size);
  if (error == std::errc::invalid_argument || at != end)
    refuse("Inference-Header-Content-Length must be a whole number from 0");
  if (error != std::errc() || size > body_bytes)
    refuse("Inference-Header-Content-Length is {}, but the body has {} bytes", cut(header),
           body_bytes);
  return size;
}

InferRequest parse_infer_json(std::string_view json, std::uint64_t raw_bytes,
                              const InferSchema& schema) {
  return InferParser(raw_bytes, schema).parse(json);
}

InferRequest infer_request_of_raw(std::uint64_t raw_bytes, const InferSchema& schema) {
  InferRequest request;
  request.rows = 1;
  request.is_raw = true;
  request.is_answer_binary = true;
  const auto values = static_cast<std::uint64_t>(schema.sample.numel());
  request.is_u8 = schema.takes_u8 && raw_bytes == values;
  if (raw_bytes != input_bytes(request, schema))
    refuse("the body has {} bytes, but a sample {} of model '{}' has {} as FP32{}", raw_bytes,
           schema.sample.str(), schema.model, values * sizeof(float),
           schema.takes_u8 ? fmt::format(" or {} as UINT8", values) : "");
  return request;
}

std::size_t input_bytes(const InferRequest& request, const InferSchema& schema) {
  return static_cast<std::size_t>(request.rows) * static_cast<std::size_t>(schema.sample.numel()) *
         (request.is_u8 ? 1 : sizeof(float));
}

void check_finite(std::span<const float> values, const InferSchema& schema) {
  // All bits of the exponent are set in infinities and NaNs. No branch within: compilers make vectors of it.
  constexpr std::uint32_t kExponent = 0x7f800000;
  std::uint32_t bad = 0;
  for (const float value : values)
    bad |=
        static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent);
  if (bad == 0) return;
  const auto found = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
  refuse("input '{}': value {} is not finite", schema.input, found - values.begin());
}

}  // namespace phalanx
