// SPDX-License-Identifier: Apache-2.0
#include "formats/h5_error.hpp"

#include <fmt/format.h>

#include <hdf5.h>

#include "core/error.hpp"

namespace phalanx::h5 {
namespace {

std::recursive_mutex& library_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}

// Walking upward starts at the innermost error, which is the reason; what follows only repeats who
// called whom.
herr_t take_first(unsigned int position, const H5E_error2_t* error, void* text) {
  if (position == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

// Out of "..., errno = 28, error message = 'No space left on device', ..." the part in quotes.
std::string system_reason(const std::string& reason) {
  constexpr std::string_view kMark = "error message = '";
  const auto begin = reason.find(kMark);
  if (begin == std::string::npos) return reason;
  const auto end = reason.find('\'', begin + kMark.size());
  return reason.substr(begin + kMark.size(), end - begin - kMark.size());
}

}  // namespace

Lock::Lock() : guard_(library_mutex()) { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

std::string take_reason() {
  Lock lock;
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &reason);
  H5Eclear2(H5E_DEFAULT);
  return reason;
}

void fail(const std::string& file, const std::string& path, std::string_view doing, bool writing,
          const std::string& reason) {
  const std::string text = fmt::format("{}: {}{}cannot {}: {}", file, path,
                                       path.empty() ? "" : ": ", doing, system_reason(reason));
  if (writing || reason.find("errno = ") != std::string::npos) throw IoError(text);
  throw InvalidInput(text);
}

}  // namespace phalanx::h5
