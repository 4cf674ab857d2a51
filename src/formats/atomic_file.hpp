// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace phalanx {

/// Makes a file appear whole or not at all: write to `temporary_path()`, close it, then `commit()`.
///
/// The temporary stands in the folder of the target, so that the rename stays inside one file
/// system. Whoever dies before `commit()` leaves the old target, if any, as it was. Neither copied
/// nor moved.
class AtomicFile {
 public:
  /// Creates missing folders of `path`. `suffix` makes the temporary's name: ranks that write one
  /// file together pass one text; empty means a suffix of this process.
  /// Throws    IoError if a folder cannot be made.
  explicit AtomicFile(std::string path, std::string suffix = {});
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  /// Removes the temporary unless it was committed.
  ~AtomicFile();

  const std::string& path() const noexcept { return path_; }
  const std::string& temporary_path() const noexcept { return temporary_; }
  /// Forces the bytes to disk, renames, and forces the folder to disk.
  /// Throws    IoError naming path and reason; the temporary is then removed.
  void commit();

 private:
  std::string path_;
  std::string temporary_;
  bool done_ = false;
};

/// Forces the bytes of `from` to disk, renames it to `to` in the same file system, and forces the
/// folder to disk. For files that are filled over several runs of the program.
/// Throws    IoError naming path and reason.
void rename_durably(const std::string& from, const std::string& to);

/// Writes a small file whole or not at all.
/// Throws    IoError naming path and reason.
void write_file_atomically(const std::string& path, const std::string& content);

}  // namespace phalanx
