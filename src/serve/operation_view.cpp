// SPDX-License-Identifier: Apache-2.0
#include "serve/operation_view.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace phalanx {

ProcessUsage process_usage() {
  ProcessUsage usage;
  std::uint64_t all_pages = 0, resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> all_pages >> resident_pages)
    usage.resident_bytes = resident_pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  rusage times{};
  if (::getrusage(RUSAGE_SELF, &times) == 0)
    for (const timeval& t : {times.ru_utime, times.ru_stime})
      usage.cpu_seconds += static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  return usage;
}

}  // namespace phalanx
