// SPDX-License-Identifier: Apache-2.0
#include "formats/atomic_file.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "core/error.hpp"

namespace phalanx {
namespace {

[[noreturn]] void fail(const std::string& path, const char* doing, int error) {
  throw IoError(fmt::format("{}: cannot {}: {}", path, doing, std::strerror(error)));
}

std::string folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) fail(path, "open", errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  int close() noexcept { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

void sync(const std::string& path, int flags) {
  Descriptor file(path, flags);
  // Some file systems refuse to sync a folder with EINVAL; there is nothing to force then.
  if (::fsync(file.get()) != 0 && errno != EINVAL) fail(path, "force to disk", errno);
}

}  // namespace

AtomicFile::AtomicFile(std::string path, std::string suffix) : path_(std::move(path)) {
  if (suffix.empty()) suffix = fmt::format("{}", ::getpid());
  temporary_ = fmt::format("{}.tmp-{}", path_, suffix);
  std::error_code error;
  std::filesystem::create_directories(folder_of(path_), error);
  if (error)
    throw IoError(
        fmt::format("{}: cannot create the folder: {}", folder_of(path_), error.message()));
}

AtomicFile::~AtomicFile() {
  if (!done_) ::unlink(temporary_.c_str());
}

void AtomicFile::commit() {
  rename_durably(temporary_, path_);
  done_ = true;
}

void rename_durably(const std::string& from, const std::string& to) {
  sync(from, O_RDONLY);
  if (::rename(from.c_str(), to.c_str()) != 0)
    fail(to, "rename the finished file to this name", errno);
  sync(folder_of(to), O_RDONLY | O_DIRECTORY);
}

void write_file_atomically(const std::string& path, const std::string& content) {
  AtomicFile target(path);
  Descriptor file(target.temporary_path(), O_WRONLY | O_CREAT | O_TRUNC);
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t n = ::write(file.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "write", errno);
    done += static_cast<std::size_t>(n);
  }
  if (file.close() != 0) fail(path, "close", errno);
  target.commit();
}

}  // namespace phalanx
