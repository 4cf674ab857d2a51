// SPDX-License-Identifier: Apache-2.0
#include "data/import_bytes.hpp"

#include <fmt/format.h>

#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 16;
constexpr std::uint64_t kXzMemoryBytes = std::uint64_t{1} << 30;

class FileBytes : public ByteSource {
 public:
  explicit FileBytes(const std::string& path)
      : ByteSource(path), file_(std::fopen(path.c_str(), "rbe")) {
    if (!file_) throw IoError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  }

  std::size_t read(std::span<std::byte> out) override {
    const std::size_t n = std::fread(out.data(), 1, out.size(), file_.get());
    if (n < out.size() && std::ferror(file_.get()) != 0)
      throw IoError(fmt::format("{}: cannot read: {}", name(), std::strerror(errno)));
    return n;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

class MemoryBytes : public ByteSource {
 public:
  MemoryBytes(std::span<const std::byte> bytes, std::string name)
      : ByteSource(std::move(name)), bytes_(bytes) {}

  std::size_t read(std::span<std::byte> out) override {
    const std::size_t n = std::min(out.size(), bytes_.size());
    std::copy_n(bytes_.begin(), n, out.begin());
    bytes_ = bytes_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> bytes_;
};

// Packed bytes with what was read to recognise them put back in front.
class Input {
 public:
  Input(std::vector<std::byte> head, std::unique_ptr<ByteSource> rest)
      : piece_(std::move(head)), rest_(std::move(rest)) {
    size_ = piece_.size();
    piece_.resize(std::max(kPieceBytes, size_));
  }

  const std::string& name() const noexcept { return rest_->name(); }
  // The next piece; empty at the end.
  std::span<std::byte> next() {
    const std::size_t n = first_ ? size_ : rest_->read(piece_);
    first_ = false;
    return std::span(piece_).first(n);
  }

 private:
  std::vector<std::byte> piece_;
  std::size_t size_ = 0;
  bool first_ = true;
  std::unique_ptr<ByteSource> rest_;
};

class PlainBytes : public ByteSource {
 public:
  explicit PlainBytes(Input input) : ByteSource(input.name()), input_(std::move(input)) {}

  std::size_t read(std::span<std::byte> out) override {
    if (piece_.empty()) piece_ = input_.next();
    const std::size_t n = std::min(out.size(), piece_.size());
    std::copy_n(piece_.begin(), n, out.begin());
    piece_ = piece_.subspan(n);
    return n;
  }

 private:
  Input input_;
  std::span<std::byte> piece_;
};

class GzipBytes : public ByteSource {
 public:
  explicit GzipBytes(Input input) : ByteSource(input.name()), input_(std::move(input)) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw Error("zlib cannot start");
  }
  ~GzipBytes() override { inflateEnd(&stream_); }

  std::size_t read(std::span<std::byte> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out =
        static_cast<uInt>(std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max()));
    const uInt wanted = stream_.avail_out;
    while (stream_.avail_out == wanted && wanted > 0 && refill()) step();
    return wanted - stream_.avail_out;
  }

 private:
  // False at the end of the file.
  bool refill() {
    if (stream_.avail_in == 0) {
      const auto piece = input_.next();
      stream_.next_in = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_in = static_cast<uInt>(piece.size());
    }
    if (stream_.avail_in > 0) return true;
    if (!at_member_end_) throw InvalidInput(fmt::format("{}: the gzip file is cut short", name()));
    return false;
  }

  void step() {
    if (at_member_end_) inflateReset(&stream_);  // a gzip file may hold several members
    at_member_end_ = false;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    at_member_end_ = status == Z_STREAM_END;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
      throw InvalidInput(fmt::format("{}: the gzip file is damaged: {}", name(),
                                     stream_.msg == nullptr ? zError(status) : stream_.msg));
  }

  Input input_;
  z_stream stream_{};
  bool at_member_end_ = false;
};

class XzBytes : public ByteSource {
 public:
  explicit XzBytes(Input input) : ByteSource(input.name()), input_(std::move(input)) {
    if (lzma_stream_decoder(&stream_, kXzMemoryBytes, LZMA_CONCATENATED) != LZMA_OK)
      throw Error("liblzma cannot start");
  }
  ~XzBytes() override { lzma_end(&stream_); }

  std::size_t read(std::span<std::byte> out) override {
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    while (!at_end_ && stream_.avail_out == out.size() && !out.empty()) step();
    return out.size() - stream_.avail_out;
  }

 private:
  void step() {
    if (stream_.avail_in == 0 && !input_ended_) {
      const auto piece = input_.next();
      stream_.next_in = reinterpret_cast<const std::uint8_t*>(piece.data());
      stream_.avail_in = piece.size();
      input_ended_ = piece.empty();
    }
    const lzma_ret status = lzma_code(&stream_, input_ended_ ? LZMA_FINISH : LZMA_RUN);
    if (status == LZMA_STREAM_END) {
      at_end_ = true;
    } else if (status == LZMA_BUF_ERROR) {
      throw InvalidInput(fmt::format("{}: the xz file is cut short", name()));
    } else if (status != LZMA_OK) {
      throw InvalidInput(fmt::format("{}: the xz file is damaged (liblzma code {})", name(),
                                     static_cast<int>(status)));
    }
  }

  Input input_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool input_ended_ = false;
  bool at_end_ = false;
};

bool starts_with(std::span<const std::byte> bytes, std::initializer_list<unsigned> magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](unsigned m, std::byte b) { return m == std::to_integer<unsigned>(b); });
}

}  // namespace

std::unique_ptr<ByteSource> file_bytes(const std::string& path) {
  return std::make_unique<FileBytes>(path);
}

std::unique_ptr<ByteSource> memory_bytes(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<MemoryBytes>(bytes, std::move(name));
}

std::unique_ptr<ByteSource> unpacked_bytes(std::unique_ptr<ByteSource> packed) {
  constexpr std::size_t kMagicBytes = 6;
  std::vector<std::byte> head(kMagicBytes);
  head.resize(read_up_to(*packed, head));
  const bool gzip = starts_with(head, {0x1f, 0x8b});
  const bool xz = starts_with(head, {0xfd, '7', 'z', 'X', 'Z', 0});
  Input input(std::move(head), std::move(packed));
  if (gzip) return std::make_unique<GzipBytes>(std::move(input));
  if (xz) return std::make_unique<XzBytes>(std::move(input));
  return std::make_unique<PlainBytes>(std::move(input));
}

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
  return unpacked_bytes(file_bytes(path));
}

std::size_t read_up_to(ByteSource& source, std::span<std::byte> out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t n = source.read(out.subspan(done));
    if (n == 0) break;
    done += n;
  }
  return done;
}

std::vector<std::byte> read_all(ByteSource& source, std::size_t most_bytes) {
  std::vector<std::byte> bytes;
  for (;;) {
    const std::size_t size = bytes.size();
    bytes.resize(size + std::max(kPieceBytes, size / 2));
    const std::size_t n = read_up_to(source, std::span(bytes).subspan(size));
    bytes.resize(size + n);
    if (bytes.size() > most_bytes)
      throw InvalidInput(fmt::format("{}: more than the {} bytes that are accepted here",
                                     source.name(), most_bytes));
    if (n == 0) return bytes;
  }
}

}  // namespace phalanx
