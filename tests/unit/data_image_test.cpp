// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <gtest/gtest.h>

#include <numeric>

#include "data/image.hpp"
#include "data_testing.hpp"

namespace phalanx {
namespace {

using testing::Bytes;
using testing::expect_error;
using testing::flat_image;

Image ramp(std::int64_t height, std::int64_t width, std::int64_t channels) {
  Image image = flat_image(height, width, channels, 0);
  std::iota(image.pixels.begin(), image.pixels.end(), std::uint8_t{7});
  return image;
}

TEST(DecodeImage, GivesAPngsOwnValues) {
  for (const std::int64_t channels : {1, 3}) {
    const Image image = ramp(5, 7, channels);
    const Image back = decode_image(testing::png(image), "a.png");
    EXPECT_EQ(back.str(), image.str());
    EXPECT_EQ(back.pixels, image.pixels);
  }
}

TEST(DecodeImage, GivesAJpegsColours) {
  const Image grey = decode_image(testing::jpeg(flat_image(9, 17, 1, 99), 95), "a.jpg");
  EXPECT_EQ(grey.str(), "9x17 grey");
  for (const std::uint8_t v : grey.pixels) EXPECT_NEAR(v, 99, 1);
  Image red = flat_image(16, 16, 3, 20);
  for (std::size_t i = 0; i < red.pixels.size(); i += 3) red.pixels[i] = 200;
  const Image back = decode_image(testing::jpeg(red, 95), "a.jpg");
  ASSERT_EQ(back.str(), "16x16 RGB");
  for (std::size_t i = 0; i < back.pixels.size(); ++i)
    EXPECT_NEAR(back.pixels[i], red.pixels[i], 4);
}

TEST(DecodeImage, RefusesDamagedAndTruncatedFiles) {
  for (const bool is_png : {true, false}) {
    const Bytes whole = is_png ? testing::png(ramp(32, 32, 3)) : testing::jpeg(ramp(32, 32, 3), 90);
    for (const std::size_t size :
         {std::size_t{4}, whole.size() / 3, whole.size() / 2, whole.size() - 20})
      expect_error<InvalidInput>([&] { decode_image(std::span(whole).first(size), "a.img"); },
                                 {"a.img", "damaged"});
  }
  Bytes flipped = testing::png(ramp(32, 32, 3));
  flipped[flipped.size() / 2] ^= std::byte{0xff};
  expect_error<InvalidInput>([&] { decode_image(flipped, "a.png"); }, {"a.png", "damaged PNG"});
}

TEST(DecodeImage, RefusesOtherFormatsAndAlphaChannels) {
  expect_error<InvalidInput>([] { decode_image(testing::to_bytes("GIF89a"), "a.gif"); },
                             {"a.gif", "JPEG or PNG", "47 49"});
  expect_error<InvalidInput>([] { decode_image({}, "empty"); }, {"empty", "0 bytes"});
  expect_error<InvalidInput>([] { decode_image(testing::png(flat_image(2, 2, 4, 5)), "a.png"); },
                             {"a.png", "alpha"});
}

TEST(DecodeImage, AllocatesNothingForAHeaderThatPromisesTooMuch) {
  Bytes file = testing::png(flat_image(2, 2, 3, 5));
  for (const std::size_t at : {std::size_t{17}, std::size_t{21}})
    file[at] = std::byte{0x0f};  // 983042 x 983042 pixels
  expect_error<InvalidInput>([&] { decode_image(file, "a.png"); }, {"a.png"});
  Bytes large = testing::jpeg(flat_image(8, 8, 3, 5), 90);
  for (std::size_t i = 0; i + 9 < large.size(); ++i)
    if (large[i] == std::byte{0xff} && large[i + 1] == std::byte{0xc0})
      for (std::size_t k = 5; k < 9; ++k) large[i + k] = std::byte{0xf0};  // 61680 x 61680 pixels
  expect_error<InvalidInput>([&] { decode_image(large, "a.jpg"); },
                             {"a.jpg", "impossible size", "61680"});
}

TEST(WithChannels, TurnsGreyIntoRgbAndBack) {
  const Image grey = ramp(3, 4, 1);
  const Image colour = with_channels(grey, 3);
  EXPECT_EQ(colour.str(), "3x4 RGB");
  EXPECT_EQ(colour.pixels[3], grey.pixels[1]);
  EXPECT_EQ(with_channels(colour, 1).pixels, grey.pixels);
}

TEST(Resized, KeepsAFlatImageFlat) {
  for (const auto& [height, width] : {std::pair{3, 5}, std::pair{64, 7}, std::pair{1, 1}}) {
    const Image out = resized(flat_image(16, 9, 3, 123), height, width);
    EXPECT_EQ(out.str(), fmt::format("{}x{} RGB", height, width));
    for (const std::uint8_t v : out.pixels) EXPECT_EQ(v, 123);
  }
}

TEST(Resized, InterpolatesBetweenPixelCentres) {
  Image two = flat_image(1, 2, 1, 0);
  two.pixels = {0, 100};
  EXPECT_EQ(resized(two, 1, 4).pixels, (std::vector<std::uint8_t>{0, 25, 75, 100}));
}

TEST(Resized, CountsEveryPixelWhenItShrinks) {
  Image stripes = flat_image(1, 64, 1, 0);
  for (std::size_t i = 0; i < 64; i += 2) stripes.pixels[i] = 200;
  for (const std::uint8_t v : resized(stripes, 1, 8).pixels) EXPECT_NEAR(v, 100, 4);
}

TEST(AppendPlanes, PutsChannelsOneAfterAnother) {
  Image image = flat_image(1, 2, 3, 0);
  image.pixels = {1, 2, 3, 4, 5, 6};
  Bytes planes;
  append_planes(image, planes);
  EXPECT_EQ(testing::to_text(planes), "\1\4\2\5\3\6");
}

}  // namespace
}  // namespace phalanx
