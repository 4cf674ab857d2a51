// SPDX-License-Identifier: Apache-2.0
#include "serve/safe_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const noexcept { return value_; }

 private:
  int value_;
};

int open_beneath(int folder, const std::string& name) {
  open_how how{};
  // O_NONBLOCK: opening a FIFO that nobody writes to would wait.
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how));
}

[[noreturn]] void refuse_open(const std::string& path, int error) {
  if (error == ELOOP || error == EXDEV)
    throw InvalidInput(fmt::format("{}: leads through a link or out of its folder", path));
  throw IoError(fmt::format("cannot open {}: {}", path, std::strerror(error)));
}

}  // namespace

SafeFile::SafeFile(const std::string& folder, const std::string& name)
    : path_(folder + "/" + name) {
  const Descriptor at(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (at.get() < 0) refuse_open(folder, errno);
  descriptor_ = open_beneath(at.get(), name);
  if (descriptor_ < 0) refuse_open(path_, errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode) || status.st_nlink != 1) {
    ::close(std::exchange(descriptor_, -1));
    throw InvalidInput(fmt::format("{}: is not a regular file with one name", path_));
  }
  size_bytes_ = static_cast<std::size_t>(status.st_size);
}

SafeFile::SafeFile(SafeFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_bytes_(other.size_bytes_) {}

SafeFile::~SafeFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string SafeFile::proc_path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

namespace {

/// Calls `use` with one piece after the other, at most `most_bytes` of them all.
template <class Use>
void read_pieces(int descriptor, const std::string& path, std::size_t most_bytes, Use use) {
  std::vector<char> piece(std::size_t{1} << 20);
  std::size_t at = 0;
  while (at < most_bytes) {
    const ssize_t got = ::pread(descriptor, piece.data(), std::min(piece.size(), most_bytes - at),
                                static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw IoError(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    if (got == 0) return;
    use(std::string_view(piece.data(), static_cast<std::size_t>(got)));
    at += static_cast<std::size_t>(got);
  }
}

}  // namespace

std::string SafeFile::read(std::size_t most_bytes) const {
  if (size_bytes_ > most_bytes)
    throw InvalidInput(
        fmt::format("{}: has {} bytes, expected at most {}", path_, size_bytes_, most_bytes));
  std::string text;
  read_pieces(descriptor_, path_, most_bytes, [&](std::string_view piece) { text += piece; });
  return text;
}

std::string SafeFile::sha256() const {
  Sha256 digest;
  read_pieces(descriptor_, path_, static_cast<std::size_t>(-1),
              [&](std::string_view piece) { digest.update(piece); });
  return digest.hex();
}

bool is_model_name(const std::string& name) noexcept {
  constexpr std::size_t kLongest = 128;
  if (name.empty() || name.size() > kLongest || name == "." || name == "..") return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

}  // namespace phalanx
