// SPDX-License-Identifier: Apache-2.0
#include "data/transforms.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kChannels = 3;
constexpr std::int64_t kHeight = 5;
constexpr std::int64_t kWidth = 7;
constexpr std::int64_t kPlane = kHeight * kWidth;
constexpr std::uint64_t kSeed = 11;

DatasetInfo image_info(DType dtype = DType::kU8) {
  DatasetInfo info;
  info.kind = SampleKind::kImage;
  info.sample = Shape{kChannels, kHeight, kWidth};
  info.x_dtype = dtype;
  info.classes = 10;
  info.mean = {0.1f, 0.5f, 0.7f};
  info.std = {0.25f, 0.0f, 0.5f};
  return info;
}

DatasetInfo table_info(DType dtype = DType::kF32) {
  DatasetInfo info;
  info.sample = Shape{3};
  info.x_dtype = dtype;
  info.target = TargetKind::kValues;
  info.targets = 2;
  info.mean = {1.0f, 0.2f, 0.5f};
  info.std = {2.0f, 0.0f, 0.25f};
  info.target_mean = {10.0f, 1.0f};
  info.target_std = {4.0f, 0.0f};
  return info;
}

// Different at every pixel, and never 0.
std::vector<std::uint8_t> image() {
  std::vector<std::uint8_t> pixels(kChannels * kPlane);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(2 * i + 1);
  return pixels;
}

template <class T>
std::vector<float> apply(const Transform& transform, const std::vector<T>& from, std::int64_t row,
                         std::int64_t epoch) {
  std::vector<float> to(from.size(), -99.0f);
  transform.apply(reinterpret_cast<const std::byte*>(from.data()), row, epoch, to.data());
  return to;
}

TransformOptions raw() {
  TransformOptions o;
  o.normalise = false;
  return o;
}

// What the definition says, pixel by pixel, in double.
std::vector<double> oracle(const DatasetInfo& info, const TransformOptions& o,
                           const std::vector<double>& v, const Augmentation& a) {
  std::vector<double> out;
  for (std::int64_t c = 0; c < kChannels; ++c)
    for (std::int64_t i = 0; i < kHeight; ++i)
      for (std::int64_t j = 0; j < kWidth; ++j) {
        const std::int64_t y = i + a.dy;
        const std::int64_t x = (a.flip ? kWidth - 1 - j : j) + a.dx;
        const std::int64_t top = a.cut_y - o.cutout / 2;
        const std::int64_t left = a.cut_x - o.cutout / 2;
        const bool cut = i >= top && i < top + o.cutout && j >= left && j < left + o.cutout;
        const bool outside = y < 0 || y >= kHeight || x < 0 || x >= kWidth;
        const double mean = info.mean[c];
        const double width = info.std[c] > 0 ? info.std[c] : 1.0;
        const double value = cut || outside ? mean : v[c * kPlane + y * kWidth + x];
        out.push_back(o.normalise ? (value - mean) / width : value);
      }
  return out;
}

void expect_near(const std::vector<float>& found, const std::vector<double>& expected,
                 double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], tolerance) << "value " << i;
}

TEST(Transform, NormalisesEveryByteAsTheFormulaSays) {
  const DatasetInfo info = image_info();
  const Transform transform(info, {}, kSeed);
  for (int x = 0; x < 256; ++x) {
    const auto out =
        apply(transform,
              std::vector<std::uint8_t>(kChannels * kPlane, static_cast<std::uint8_t>(x)), 0, 0);
    for (std::int64_t c = 0; c < kChannels; ++c) {
      const double width = info.std[c] > 0 ? info.std[c] : 1.0;
      const double expected = (x / 255.0 - info.mean[c]) / width;
      for (std::int64_t i = 0; i < kPlane; ++i) ASSERT_NEAR(out[c * kPlane + i], expected, 1e-6);
    }
  }
}

TEST(Transform, ScalesBytesToOneWithoutNormalising) {
  const auto out = apply(Transform(image_info(), raw(), kSeed), image(), 0, 0);
  EXPECT_FLOAT_EQ(out[0], 1.0f / 255.0f);
  EXPECT_FLOAT_EQ(out[100], 201.0f / 255.0f);
}

TEST(Transform, StandardisesTableRows) {
  const auto out =
      apply(Transform(table_info(), {}, kSeed), std::vector<float>{5.0f, 1.2f, 0.0f}, 0, 0);
  EXPECT_FLOAT_EQ(out[0], 2.0f);
  EXPECT_FLOAT_EQ(out[1], 1.2f - 0.2f);  // a deviation of 0 counts as 1
  EXPECT_FLOAT_EQ(out[2], -2.0f);
}

TEST(Transform, StandardisesTableRowsOfBytes) {
  const auto out = apply(Transform(table_info(DType::kU8), {}, kSeed),
                         std::vector<std::uint8_t>{255, 51, 0}, 0, 0);
  EXPECT_NEAR(out[0], 0.0, 1e-6);
  EXPECT_NEAR(out[1], 0.0, 1e-6);
  EXPECT_NEAR(out[2], -2.0, 1e-6);
}

TEST(Transform, AugmentsBytesAndFloatsAsTheDefinitionSays) {
  TransformOptions o;
  o.flip = true;
  for (const DType dtype : {DType::kU8, DType::kF32})
    for (const bool normalise : {true, false})
      for (const std::int64_t padding : {0, 2, 12})
        for (const std::int64_t cutout : {0, 1, 4, 20}) {
          o.normalise = normalise;
          o.crop_padding = padding;
          o.cutout = cutout;
          const DatasetInfo info = image_info(dtype);
          const Transform transform(info, o, kSeed);
          const auto bytes = image();
          std::vector<float> floats(bytes.begin(), bytes.end());
          std::vector<double> values(bytes.begin(), bytes.end());
          if (dtype == DType::kU8)
            for (double& v : values) v /= 255.0;
          for (std::int64_t row = 0; row < 40; ++row) {
            const auto out = dtype == DType::kU8 ? apply(transform, bytes, row, 3)
                                                 : apply(transform, floats, row, 3);
            expect_near(out, oracle(info, o, values, transform.draw(row, 3)),
                        dtype == DType::kU8 ? 2e-6 : 2e-4);
          }
        }
}

TEST(Transform, FillsWithZeroAfterNormalising) {
  TransformOptions o;
  o.cutout = 20;  // more than twice the image: covers it from any centre
  for (const float v : apply(Transform(image_info(), o, kSeed), image(), 5, 0)) EXPECT_EQ(v, 0.0f);
}

TEST(Transform, DrawsEveryOffsetAndFlipAboutEquallyOften) {
  TransformOptions o;
  o.crop_padding = 2;
  o.flip = true;
  o.cutout = 3;
  const Transform transform(image_info(), o, kSeed);
  constexpr int kRows = 10000;
  std::vector<int> dy(5);
  std::vector<int> dx(5);
  std::vector<int> cut_y(kHeight);
  std::vector<int> cut_x(kWidth);
  int flips = 0;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const Augmentation a = transform.draw(row, 0);
    ++dy.at(static_cast<std::size_t>(a.dy + 2));
    ++dx.at(static_cast<std::size_t>(a.dx + 2));
    ++cut_y.at(static_cast<std::size_t>(a.cut_y));
    ++cut_x.at(static_cast<std::size_t>(a.cut_x));
    flips += a.flip ? 1 : 0;
  }
  EXPECT_NEAR(flips, kRows / 2, 250);
  for (const auto& counts : {dy, dx, cut_y, cut_x})
    for (const int count : counts)
      EXPECT_NEAR(count, kRows / static_cast<double>(counts.size()), 200);
}

TEST(Transform, DrawsAnewForEveryRowEpochAndSeed) {
  TransformOptions o;
  o.crop_padding = 1000;
  const Transform transform(image_info(), o, kSeed);
  const Transform other(image_info(), o, kSeed + 1);
  std::set<std::pair<std::int64_t, std::int64_t>> offsets;
  const auto add = [&](const Augmentation& a) { offsets.emplace(a.dy, a.dx); };
  add(transform.draw(0, 0));
  add(transform.draw(1, 0));
  add(transform.draw(std::int64_t{1} << 32, 0));
  add(transform.draw(0, 1));
  add(other.draw(0, 0));
  EXPECT_EQ(offsets.size(), 5u);
}

TEST(Transform, OneChoiceDoesNotDependOnTheOthers) {
  TransformOptions all;
  all.crop_padding = 2;
  all.flip = true;
  all.cutout = 2;
  TransformOptions flip_only;
  flip_only.flip = true;
  const Transform a(image_info(), all, kSeed);
  const Transform b(image_info(), flip_only, kSeed);
  for (std::int64_t row = 0; row < 50; ++row) EXPECT_EQ(a.draw(row, 1).flip, b.draw(row, 1).flip);
}

TEST(Transform, StandardisesTargets) {
  const Transform transform(table_info(), {}, kSeed);
  std::vector<float> y{14.0f, 3.0f, 2.0f, 1.0f};
  ASSERT_TRUE(transform.changes_targets());
  transform.apply_targets(y.data(), 2);
  EXPECT_EQ(y, (std::vector<float>{1.0f, 2.0f, -2.0f, 0.0f}));
}

TEST(Transform, LeavesTargetsAloneWhenAsked) {
  TransformOptions o;
  o.normalise_targets = false;
  EXPECT_FALSE(Transform(table_info(), o, kSeed).changes_targets());
  EXPECT_FALSE(Transform(table_info(), raw(), kSeed).changes_targets());
  EXPECT_FALSE(Transform(image_info(), {}, kSeed).changes_targets());
}

TEST(Transform, RefusesImageOptionsForTables) {
  TransformOptions o;
  o.flip = true;
  EXPECT_THROW(Transform(table_info(), o, kSeed), ConfigError);
}

TEST(Transform, RefusesNegativeSizes) {
  TransformOptions o;
  o.crop_padding = -1;
  EXPECT_THROW(Transform(image_info(), o, kSeed), ConfigError);
  o.crop_padding = 0;
  o.cutout = -1;
  EXPECT_THROW(Transform(image_info(), o, kSeed), ConfigError);
}

TEST(Transform, RefusesToNormaliseWithoutStatistics) {
  DatasetInfo info = image_info();
  info.std.pop_back();
  EXPECT_THROW(Transform(info, {}, kSeed), InvalidInput);
  EXPECT_NO_THROW(Transform(info, raw(), kSeed));
  info = table_info();
  info.target_mean.clear();
  EXPECT_THROW(Transform(info, {}, kSeed), InvalidInput);
}

TEST(Transform, RefusesASampleShapeThatIsNoImage) {
  DatasetInfo info = image_info();
  info.sample = Shape{kHeight, kWidth};
  EXPECT_THROW(Transform(info, {}, kSeed), InvalidInput);
}

}  // namespace
}  // namespace phalanx
