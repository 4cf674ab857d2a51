// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include <jpeglib.h>  // needs FILE
#include <png.h>

#include <cstdlib>

#include "data/image.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    phalanx::decode_image({reinterpret_cast<const std::byte*>(data), size}, "input");
  });
  return 0;
}

namespace {

std::string png(std::uint32_t format, int channels) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(6 * 5 * channels), 77);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = 6;
  image.height = 5;
  image.format = format;
  std::string bytes(4096, '\0');
  png_alloc_size_t size = bytes.size();
  png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr);
  return bytes.substr(0, size);
}

std::string jpeg(int channels) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = 9;
  encoder.image_height = 7;
  encoder.input_components = channels;
  encoder.in_color_space = channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  std::vector<JSAMPLE> row(static_cast<std::size_t>(9 * channels), 90);
  JSAMPROW rows[] = {row.data()};
  while (encoder.next_scanline < encoder.image_height) jpeg_write_scanlines(&encoder, rows, 1);
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::string text(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return text;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {png(PNG_FORMAT_GRAY, 1), png(PNG_FORMAT_RGB, 3), png(PNG_FORMAT_RGBA, 4), jpeg(1),
          jpeg(3)};
}
