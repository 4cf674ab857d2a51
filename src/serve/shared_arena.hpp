// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string_view>

namespace phalanx {

/// Memory that the front end and the ranks of its host see: requests are read into it from the network, ranks read them
/// there and write their answers there. So a tensor is not copied on its way. The front end allocates, in one thread.
///
/// It has no name: ranks get its file descriptor, and it is gone with the last process that holds it. Pages come into being
/// when they are touched.
class SharedArena {
 public:
  /// Throws    IoError if the system gives no such memory.
  explicit SharedArena(std::size_t size_bytes);
  /// Maps what another process made. Allocates nothing.
  /// Throws    IoError
  SharedArena(int descriptor, std::size_t size_bytes);
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;
  ~SharedArena();

  int descriptor() const noexcept { return descriptor_; }
  std::size_t size_bytes() const noexcept { return size_bytes_; }
  std::size_t used_bytes() const noexcept { return used_bytes_; }
  std::byte* at(std::size_t offset) const noexcept { return base_ + offset; }

  /// A piece of the arena, 64-byte aligned, given back when the last pointer to it goes.
  class Block {
   public:
    Block(SharedArena& arena, std::size_t offset, std::size_t size_bytes) noexcept
        : arena_(arena), offset_(offset), size_bytes_(size_bytes) {}
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    ~Block() { arena_.release(offset_); }

    std::byte* data() const noexcept { return arena_.at(offset_); }
    std::size_t offset() const noexcept { return offset_; }
    std::size_t size_bytes() const noexcept { return size_bytes_; }

   private:
    SharedArena& arena_;
    std::size_t offset_, size_bytes_;
  };
  /// Throws    OutOfMemory "... of the server's ... for requests are in use" if no gap is large enough.
  std::shared_ptr<Block> allocate(std::size_t size_bytes);

 private:
  void map();
  void release(std::size_t offset) noexcept;

  int descriptor_;
  std::size_t size_bytes_;
  std::byte* base_ = nullptr;
  std::size_t used_bytes_ = 0;
  std::map<std::size_t, std::size_t> free_, taken_;  // offset -> bytes
};

using SharedBlock = std::shared_ptr<SharedArena::Block>;

}  // namespace phalanx
