// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/shape.hpp"

namespace phalanx {

/// What an infer request may hold, as the model has it. The texts belong to the model.
struct InferSchema {
  std::string_view model;
  std::string_view input, output;  ///< names of its tensors
  Shape sample;                    ///< of the input, without the batch axis
  std::int64_t outputs = 0;        ///< values of an answer
  std::int64_t max_batch_size = 1;
  bool takes_u8 = false;  ///< pixels as UINT8, beside FP32
};

/// An infer request of the Open Inference Protocol, all of it checked but the tensor that stands behind the JSON.
struct InferRequest {
  std::optional<std::string> id;
  std::int64_t rows = 0;
  bool is_u8 = false;
  bool is_raw = false;               ///< the rows stand behind the JSON, otherwise they are here:
  std::vector<float> values;         ///< [rows, ...sample], if not is_u8
  std::vector<std::uint8_t> pixels;  ///< [rows, ...sample], if is_u8
  std::uint64_t priority = 0;        ///< 0: the default, 1: the highest
  std::uint64_t timeout_us = 0;      ///< 0: the model's
  bool is_answer_binary = false;
  std::int64_t classes = 0;  ///< so many of the largest outputs by name; 0: all values
};

/// Size of the JSON of a body of `body_bytes`, from the header Inference-Header-Content-Length; nothing if that is empty.
/// Throws    Refusal 400 if it is no number, or more than the body.
std::optional<std::size_t> parse_json_size(std::string_view header, std::uint64_t body_bytes);

/// Parses the JSON of a request that has `raw_bytes` behind it. Takes no more memory than a few times the JSON.
/// Throws    Refusal 400 naming what was expected and what was given.
InferRequest parse_infer_json(std::string_view json, std::uint64_t raw_bytes,
                              const InferSchema& schema);

/// A request without JSON: the whole body is one sample, and the answer is binary.
/// Throws    Refusal 400 if it is not as long as a sample.
InferRequest infer_request_of_raw(std::uint64_t raw_bytes, const InferSchema& schema);

/// Bytes of the rows of a request.
std::size_t input_bytes(const InferRequest& request, const InferSchema& schema);

/// Values that are not finite would spoil a batch that others share.
/// Throws    Refusal 400 naming the first of them.
void check_finite(std::span<const float> values, const InferSchema& schema);

}  // namespace phalanx
