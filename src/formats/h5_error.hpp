// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

namespace phalanx::h5 {

/// Held around every call of the HDF5 library, which is not thread-safe as Debian builds it. The
/// mutex is the one global this needs: the library's own state is global too. Recursive, because a
/// failing call closes what it has opened.
class Lock {
 public:
  Lock();

 private:
  std::lock_guard<std::recursive_mutex> guard_;
};

/// HDF5's last failure in its own words, from the innermost place; clears it.
std::string take_reason();

/// Throws    IoError if the system refused (or `writing`), else InvalidInput.
[[noreturn]] void fail(const std::string& file, const std::string& path, std::string_view doing,
                       bool writing, const std::string& reason = take_reason());

}  // namespace phalanx::h5
