// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace phalanx {

/// The environment of this process without what a launcher of MPI put there for this very process, plus `added` entries
/// NAME=VALUE: for a job of its own that is started from within another. Users' settings (OMPI_MCA_*) stay.
std::vector<std::string> environment_for_job(const std::vector<std::string>& added);

/// Starts a program, found by PATH, in a process group of its own, with standard input closed.
/// Returns its process id.
/// Throws    IoError naming program and reason.
int start_process(const std::vector<std::string>& arguments,
                  const std::vector<std::string>& environment);

/// A process of somebody else, for signals that never reach another one that has its number by then. Where the system knows no
/// such handles (Linux before 5.3) it has the number only.
class ProcessHandle {
 public:
  ProcessHandle() = default;
  explicit ProcessHandle(std::int64_t pid) noexcept;
  ProcessHandle(ProcessHandle&& other) noexcept;
  ProcessHandle& operator=(ProcessHandle&& other) noexcept;
  ~ProcessHandle();

  /// False where the number may be another's by now.
  bool is_exact() const noexcept { return descriptor_ >= 0; }
  /// SIGKILL. False if there is no such process any more.
  bool kill() noexcept;

 private:
  std::int64_t pid_ = 0;
  int descriptor_ = -1;
};

/// 64 hexadecimal digits that nobody can guess.
std::string random_token();

/// Whether both are equal, in a time that does not depend on where they differ.
bool equal_secrets(const std::string& a, const std::string& b) noexcept;

}  // namespace phalanx
