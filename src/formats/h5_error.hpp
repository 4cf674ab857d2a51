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

/// Throws the error that belongs to HDF5's last failure, and clears that.
/// Throws    IoError if the system refused (or `writing`), else InvalidInput.
[[noreturn]] void fail(const std::string& file, const std::string& path, std::string_view doing,
                       bool writing);

}  // namespace phalanx::h5
