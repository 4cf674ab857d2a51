// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace phalanx {

/// Where a check stands in the source. `std::source_location` is missing for clang 14 with libstdc++ 12.
struct SourceLocation {
  const char* file;
  int line;
  static constexpr SourceLocation current(const char* file = __builtin_FILE(),
                                          int line = __builtin_LINE()) noexcept {
    return {file, line};
  }
};

/// Base of every exception Phalanx throws. The type is the contract, the text is for people.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller broke a documented precondition.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// A file, request or configuration is malformed; the text names it and the position in it.
class InvalidInput : public Error {
 public:
  using Error::Error;
};

/// A configuration or command line is wrong: exit code `ExitCode::kUsage`.
class ConfigError : public InvalidInput {
 public:
  using InvalidInput::InvalidInput;
};

/// Valid, but this build, device or machine cannot do it.
class Unsupported : public Error {
 public:
  using Error::Error;
};

class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// CUDA or oneDNN failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// MPI or NCCL failed, a peer is lost, or a deadline passed.
class CommError : public Error {
 public:
  using Error::Error;
};

/// The loss is not finite or an outlier; every rank knows.
class LossError : public Error {
 public:
  using Error::Error;
};

/// Ranks that should hold the same parameters do not; every rank knows.
class DivergenceError : public Error {
 public:
  using Error::Error;
};

/// A file could not be read or written: missing, no permission, disk full.
class IoError : public Error {
 public:
  using Error::Error;
};

/// What the process returns to its launcher; documented in README.md.
enum class ExitCode : int {
  kDone = 0,
  kFailed = 1,    ///< an error that none of the others describes
  kUsage = 2,     ///< command line or configuration
  kData = 3,      ///< a data set, checkpoint or other input file is malformed
  kIo = 4,        ///< a file could not be written or read (disk full, permissions)
  kPeerLost = 5,  ///< another rank failed or did not answer in time
  kPreempted =
      6,  ///< asked to stop by a signal; a checkpoint was written, the same command goes on from it
  kDiverged = 7,  ///< ranks hold different parameters
};

/// Throws E with `what` and the place of the call unless `ok`. Stays in every build type.
template <class E = InvalidArgument>
inline void require(bool ok, std::string_view what, SourceLocation at = SourceLocation::current()) {
  if (!ok) throw E(std::string(what) + " [" + at.file + ":" + std::to_string(at.line) + "]");
}

}  // namespace phalanx
