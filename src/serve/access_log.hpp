// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "serve/http.hpp"

namespace phalanx {

/// One line of JSON for every request: who asked for what, the answer's status, sizes and times. No payloads, no keys.
class AccessLog {
 public:
  /// `path`: "-" for standard output, empty for none. Lines are appended.
  /// Throws    IoError
  explicit AccessLog(const std::string& path);

  void write(const HttpRecord& record);
  /// Lines get out whole, and here at the latest: others write into the same stream.
  void flush();

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept;
  };
  std::unique_ptr<std::FILE, Close> file_;
  std::string waiting_;
};

}  // namespace phalanx
