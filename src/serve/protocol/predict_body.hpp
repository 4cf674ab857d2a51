// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/manifest.hpp"

namespace phalanx {

/// The longest body of /predict.
inline constexpr std::size_t kMostPredictBytes = std::size_t{64} << 20;

/// What a request asks for, as rows in the units of the data set.
struct PredictRows {
  std::vector<float> values;      // or, of pictures and of pixels that are bytes:
  std::vector<std::byte> pixels;  // [rows, C, H, W]
  std::int64_t count = 0;
  bool is_single = false;  // one sample, not a list of one
};

/// Whether bytes begin as a JPEG or PNG file does.
bool is_picture(std::string_view body) noexcept;

/// Reads a body of /predict, JSON or a picture, for the model of a manifest.
/// Throws    Refusal 400 naming what is wrong with it.
PredictRows read_predict_body(const std::string& body, const Manifest& manifest);

}  // namespace phalanx
