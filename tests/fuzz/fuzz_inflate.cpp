// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include "serve/http_head.hpp"
#include "serve_fuzz.hpp"

// A compressed body.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kMost = 1 << 18;
  phalanx::expect_only_refusals_of_requests([&] {
    const std::string out = phalanx::inflate_body(phalanx::text_of(data, size), kMost);
    phalanx::require(out.size() <= kMost, "more than was asked for");
  });
  return 0;
}

namespace {

std::string deflated(const std::string& text, int bits) {
  z_stream stream{};
  ::deflateInit2(&stream, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  constexpr int kZlib = 15, kGzip = 31;
  const std::string text = R"({"input": [1, 2, 3, 4, 5, 6, 7, 8, 9]})";
  return {deflated(text, kZlib), deflated(text, kGzip), deflated(std::string(1 << 19, 'x'), kGzip),
          deflated("", kGzip)};
}
