// SPDX-License-Identifier: Apache-2.0
#include "data/image_codecs.hpp"

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include <jpeglib.h>
#include <png.h>

#include "core/error.hpp"

// Both libraries report errors by a jump out of the call. A function that calls setjmp below
// therefore holds no object with a destructor, and only sets flags; what it allocates belongs to a
// struct of its caller.

namespace phalanx {
namespace {

// ---- JPEG

struct JpegErrors {
  jpeg_error_mgr base{};  // first: libjpeg hands this address back
  std::jmp_buf jump{};
  char text[JMSG_LENGTH_MAX] = "";
};

void jpeg_failed(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->base.format_message(info, errors->text);
  std::longjmp(errors->jump, 1);
}

// A warning (level -1) means that the data is damaged and that libjpeg would go on with grey; that
// is an error here.
void jpeg_warned(j_common_ptr info, int level) {
  if (level < 0) jpeg_failed(info);
}

struct JpegReader {
  JpegErrors errors;
  jpeg_decompress_struct info{};
  ~JpegReader() { jpeg_destroy_decompress(&info); }
};

bool jpeg_begin(JpegReader& reader, std::span<const std::byte> bytes) {
  reader.info.err = jpeg_std_error(&reader.errors.base);
  reader.errors.base.error_exit = jpeg_failed;
  reader.errors.base.emit_message = jpeg_warned;
  if (setjmp(reader.errors.jump) != 0) return false;
  jpeg_create_decompress(&reader.info);
  jpeg_mem_src(&reader.info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&reader.info, TRUE);
  reader.info.out_color_space = reader.info.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  reader.info.dct_method =
      JDCT_ISLOW;  // the exact one, so that every machine decodes to the same bytes
  return true;
}

bool jpeg_pixels(JpegReader& reader, std::uint8_t* pixels, std::size_t row_bytes) {
  if (setjmp(reader.errors.jump) != 0) return false;
  jpeg_start_decompress(&reader.info);
  while (reader.info.output_scanline < reader.info.output_height) {
    JSAMPROW row = pixels + reader.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&reader.info, &row, 1);
  }
  jpeg_finish_decompress(&reader.info);
  return true;
}

// ---- PNG

struct PngReader {
  std::span<const std::byte> bytes;
  std::size_t at = 0;
  char text[128] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void png_failed(png_structp png, png_const_charp text) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->text, sizeof reader->text, "%s", text);
  png_longjmp(png, 1);
}

void png_warned(png_structp, png_const_charp) {}

void png_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (count > reader->bytes.size() - reader->at) png_error(png, "the file is cut short");
  std::memcpy(out, reader->bytes.data() + reader->at, count);
  reader->at += count;
}

bool png_begin(PngReader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader, png_bytes);
  png_read_info(reader.png, reader.info);
  return true;
}

bool png_pixels(PngReader& reader, std::uint8_t* pixels, std::size_t row_bytes) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  const int type = png_get_color_type(reader.png, reader.info);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(reader.png);
  if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(reader.png);
  const int passes = png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  if (png_get_rowbytes(reader.png, reader.info) != row_bytes)
    png_error(reader.png, "unexpected size of a row");
  for (int pass = 0; pass < passes; ++pass)
    for (std::size_t row = 0; row < png_get_image_height(reader.png, reader.info); ++row)
      png_read_row(reader.png, pixels + row * row_bytes, nullptr);
  png_read_end(reader.png, nullptr);
  return true;
}

}  // namespace

Image make_image(std::uint64_t height, std::uint64_t width, std::uint64_t channels,
                 const std::string& name) {
  std::uint64_t size = 0;
  if (__builtin_mul_overflow(height, width, &size) ||
      __builtin_mul_overflow(size, channels, &size) ||
      size > static_cast<std::uint64_t>(kMostImageBytes) || size == 0)
    throw InvalidInput(fmt::format("{}: impossible size: {} x {} pixels", name, height, width));
  Image image{static_cast<std::int64_t>(height),
              static_cast<std::int64_t>(width),
              static_cast<std::int64_t>(channels),
              {}};
  image.pixels.resize(size);
  return image;
}

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  JpegReader reader;
  const auto bad = [&] {
    return InvalidInput(fmt::format("{}: damaged JPEG image: {}", name, reader.errors.text));
  };
  if (!jpeg_begin(reader, bytes)) throw bad();
  const int components = reader.info.num_components;
  if (components != 1 && components != 3)
    throw InvalidInput(fmt::format("{}: expected a grey or RGB image, found {} colour components",
                                   name, components));
  Image image = make_image(reader.info.image_height, reader.info.image_width,
                           static_cast<unsigned>(components), name);
  if (!jpeg_pixels(reader, image.pixels.data(),
                   static_cast<std::size_t>(image.width * image.channels)))
    throw bad();
  return image;
}

Image decode_png(std::span<const std::byte> bytes, const std::string& name) {
  PngReader reader;
  reader.bytes = bytes;
  reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reader, png_failed, png_warned);
  reader.info = reader.png == nullptr ? nullptr : png_create_info_struct(reader.png);
  if (reader.info == nullptr) throw OutOfMemory("libpng cannot start");
  const auto bad = [&](const std::string& what) {
    return InvalidInput(fmt::format("{}: {}", name, what));
  };
  if (!png_begin(reader)) throw bad(fmt::format("damaged PNG image: {}", reader.text));
  const int type = png_get_color_type(reader.png, reader.info);
  if ((type & PNG_COLOR_MASK_ALPHA) != 0)
    throw bad("expected a grey or RGB image, found an alpha channel");
  if (png_get_bit_depth(reader.png, reader.info) == 16)
    throw bad("expected 8 bits per value, found 16");
  const unsigned channels = (type & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
  Image image = make_image(png_get_image_height(reader.png, reader.info),
                           png_get_image_width(reader.png, reader.info), channels, name);
  if (!png_pixels(reader, image.pixels.data(),
                  static_cast<std::size_t>(image.width * image.channels)))
    throw bad(fmt::format("damaged PNG image: {}", reader.text));
  return image;
}

void write_png(const Image& image, const std::string& path) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  if (png_image_write_to_file(&png, path.c_str(), 0, image.pixels.data(), 0, nullptr) == 0)
    throw IoError(fmt::format("cannot write {}: {}", path, png.message));
}

}  // namespace phalanx
