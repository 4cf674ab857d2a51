// SPDX-License-Identifier: Apache-2.0
#include "serve/http_head.hpp"
#include "serve_fuzz.hpp"

// The head of a request, as a connection cuts it out of what it reads.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes = phalanx::text_of(data, size);
  phalanx::expect_only_refusals_of_requests([&] {
    const std::size_t end = phalanx::find_head_end(bytes);
    if (end == std::string::npos) return;
    const phalanx::HttpHead head = phalanx::parse_http_head(std::string_view(bytes).substr(0, end));
    phalanx::require(!head.path.empty() && head.path[0] == '/', "a path without a slash");
    phalanx::require(head.path.find('\0') == std::string::npos, "a path with a NUL");
    phalanx::require(!head.is_chunked || !head.content_length, "two lengths");
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
          "POST /predict/model/1?a=%20b&c HTTP/1.1\r\nHost: [::1]:8000\r\nContent-Length: "
          "12\r\nExpect: "
          "100-continue\r\nConnection: close\r\n\r\nbody",
          "POST /v2/models/%6d/infer HTTP/1.1\r\nhost: h\r\ntransfer-encoding: "
          "chunked\r\ncontent-encoding: "
          "gzip\r\nAuthorization: Bearer x\r\nX-Request-Id: a-1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
          "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
}
