// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "data/image.hpp"

// What the tests of src/data and src/formats share: folders that vanish, files made on the spot,
// and error checks.
namespace phalanx::testing {

using Bytes = std::vector<std::byte>;

/// A fresh folder, removed with all in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  std::string path(const std::string& name) const { return (root_ / name).string(); }
  std::vector<std::string> names() const;  ///< of what stands in it

 private:
  std::filesystem::path root_;
};

/// Fails the test unless `action` throws E with every one of `parts` in its text.
template <class E, class Action>
void expect_error(Action&& action, std::initializer_list<std::string_view> parts) {
  try {
    action();
    ADD_FAILURE() << "expected an error, but there was none";
  } catch (const E& error) {
    for (const std::string_view part : parts)
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "expected '" << part << "' in: " << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "an error of another type: " << error.what();
  }
}

Bytes to_bytes(std::string_view text);
std::string to_text(std::span<const std::byte> bytes);
/// Makes missing folders.
void write_file(const std::string& path, std::span<const std::byte> bytes);
void write_file(const std::string& path, std::string_view text);

Bytes gzip(std::span<const std::byte> bytes);
Bytes xz(std::span<const std::byte> bytes);
Bytes jpeg(const Image& image, int quality);
Bytes png(const Image& image);
/// Every pixel has the same value.
Image flat_image(std::int64_t height, std::int64_t width, std::int64_t channels,
                 std::uint8_t value);

/// An idx file of unsigned bytes.
Bytes idx(std::initializer_list<std::int64_t> sizes, std::span<const std::byte> data);
/// One entry of a ustar archive, padding included; `type` as in the header.
Bytes tar_entry(const std::string& name, std::span<const std::byte> content, char type = '0');
/// The two blocks of zeros.
Bytes tar_end();

void append(Bytes& to, std::span<const std::byte> more);

}  // namespace phalanx::testing
