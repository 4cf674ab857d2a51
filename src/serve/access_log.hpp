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
  void flush();

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept;
  };
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace phalanx
