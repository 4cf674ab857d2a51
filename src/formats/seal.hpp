// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace phalanx {

/// Room at the front of a file for its seal. HDF5 calls it a user block and leaves it alone, and so do its tools.
inline constexpr std::size_t kSealBytes = 512;

/// Writes the size and the SHA-256 of everything behind the first kSealBytes into them, as text.
/// Throws    IoError.
void seal_file(const std::string& path);

/// Checks a sealed file from end to end, before any parser sees it: HDF5 1.10 may crash on a damaged file.
/// Throws    InvalidInput "PATH: ..." if there is no seal, the size differs (truncated) or the content does (damaged);
///           IoError if it cannot be read.
void verify_seal(const std::string& path);

}  // namespace phalanx
