// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// Names in a data set file; docs/formats.md, "Data sets", is the specification.
namespace phalanx::schema {

inline constexpr const char* kFormat = "phalanx.dataset";
inline constexpr std::int64_t kVersion = 1;

inline constexpr const char* kFormatAttribute = "format";
inline constexpr const char* kVersionAttribute = "version";
inline constexpr const char* kKind = "kind";      // image | table
inline constexpr const char* kTarget = "target";  // class | binary | real
inline constexpr const char* kClassNames = "class_names";
inline constexpr const char* kFeatureNames = "feature_names";
inline constexpr const char* kTargetNames = "target_names";
inline constexpr const char* kMean = "mean";
inline constexpr const char* kStd = "std";
inline constexpr const char* kTargetMean = "target_mean";
inline constexpr const char* kTargetStd = "target_std";
inline constexpr const char* kContentSha256 = "content_sha256";
inline constexpr const char* kSource = "source";
inline constexpr const char* kSourceSha256 = "source_sha256";

inline constexpr const char* kX = "x";
inline constexpr const char* kY = "y";
inline constexpr const char* kTrain = "train";
inline constexpr const char* kTest = "test";

inline constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;

}  // namespace phalanx::schema
