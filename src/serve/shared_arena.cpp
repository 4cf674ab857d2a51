// SPDX-License-Identifier: Apache-2.0
#include "serve/shared_arena.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kAlignment = 64;
// A block of this size gives its pages back to the system.
constexpr std::size_t kLargeBytes = std::size_t{4} << 20;

std::size_t rounded(std::size_t size_bytes) {
  return (std::max<std::size_t>(size_bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

[[noreturn]] void fail(const char* what) {
  throw IoError(fmt::format("cannot {} the memory for requests: {}", what, std::strerror(errno)));
}

}  // namespace

SharedArena::SharedArena(std::size_t size_bytes)
    : descriptor_(::memfd_create("phalanx requests", MFD_CLOEXEC)), size_bytes_(size_bytes) {
  if (descriptor_ < 0) fail("create");
  if (::ftruncate(descriptor_, static_cast<off_t>(size_bytes)) != 0) {
    ::close(descriptor_);
    fail("size");
  }
  map();
  free_.emplace(0, size_bytes);
}

SharedArena::SharedArena(int descriptor, std::size_t size_bytes)
    : descriptor_(descriptor), size_bytes_(size_bytes) {
  map();
}

void SharedArena::map() {
  void* base = ::mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      descriptor_, 0);
  if (base == MAP_FAILED) {
    ::close(descriptor_);
    fail("map");
  }
  base_ = static_cast<std::byte*>(base);
}

SharedArena::~SharedArena() {
  ::munmap(base_, size_bytes_);
  ::close(descriptor_);
}

std::shared_ptr<SharedArena::Block> SharedArena::allocate(std::size_t size_bytes) {
  const std::size_t wanted = rounded(size_bytes);
  const auto gap =
      std::ranges::find_if(free_, [&](const auto& piece) { return piece.second >= wanted; });
  if (wanted < size_bytes || gap == free_.end())
    throw OutOfMemory(fmt::format("no room for {}: {} of the server's {} for requests are in use",
                                  human_bytes(size_bytes), human_bytes(used_bytes_),
                                  human_bytes(size_bytes_)));
  const auto [offset, bytes] = *gap;
  free_.erase(gap);
  if (bytes > wanted) free_.emplace(offset + wanted, bytes - wanted);
  taken_.emplace(offset, wanted);
  used_bytes_ += wanted;
  return std::make_shared<Block>(*this, offset, size_bytes);
}

void SharedArena::release(std::size_t offset) noexcept {
  const auto taken = taken_.find(offset);
  const std::size_t bytes = taken->second;
  std::size_t begin = offset, end = offset + bytes;
  used_bytes_ -= bytes;
  taken_.erase(taken);
  const auto next = free_.lower_bound(begin);
  if (next != free_.end() && next->first == end) {
    end += next->second;
    free_.erase(next);
  }
  const auto behind = free_.lower_bound(begin);
  if (behind != free_.begin())
    if (const auto before = std::prev(behind); before->first + before->second == begin) {
      begin = before->first;
      free_.erase(before);
    }
  free_.emplace(begin, end - begin);
  if (bytes < kLargeBytes) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t first = (offset + page - 1) / page * page;
  ::madvise(base_ + first, (offset + bytes - first) / page * page, MADV_REMOVE);
}

}  // namespace phalanx
