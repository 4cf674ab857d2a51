// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace phalanx {

/// A file that was opened for reading inside of a folder. Move-only.
///
/// Opened are regular files with one name only: no symbolic link stands anywhere on the way below the folder, and nothing
/// leads out of it. What is read is what was checked, whatever happens to the name in between.
class SafeFile {
 public:
  /// Throws    IoError if it cannot be opened; InvalidInput "FOLDER/NAME: is not a regular file" (link, FIFO, device, several
  ///           names).
  SafeFile(const std::string& folder, const std::string& name);
  SafeFile(const SafeFile&) = delete;
  SafeFile& operator=(const SafeFile&) = delete;
  SafeFile(SafeFile&& other) noexcept;
  SafeFile& operator=(SafeFile&&) = delete;
  ~SafeFile();

  std::size_t size_bytes() const noexcept { return size_bytes_; }
  /// FOLDER/NAME, for messages.
  const std::string& path() const noexcept { return path_; }
  /// A path under which this process finds the very file that is open.
  std::string proc_path() const;
  /// All of it.
  /// Throws    InvalidInput if it is larger than `most_bytes`; IoError.
  std::string read(std::size_t most_bytes) const;
  /// 64 hexadecimal digits.
  /// Throws    IoError.
  std::string sha256() const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::size_t size_bytes_ = 0;
};

/// Whether a model may be called so: 1 to 128 of A-Z a-z 0-9 _ . - , not "." and not "..".
bool is_model_name(const std::string& name) noexcept;

}  // namespace phalanx
