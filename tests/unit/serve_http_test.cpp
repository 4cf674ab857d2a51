// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <tuple>

#include "serve/http_head.hpp"
#include "serve/protocol/predict_body.hpp"
#include "serve/router.hpp"
#include "unit/data_testing.hpp"

namespace phalanx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

HttpHead head_of(const std::string& lines, const std::string& request = "GET / HTTP/1.1") {
  return parse_http_head(request + "\r\nHost: localhost\r\n" + lines + "\r\n");
}

template <class Action>
int refusal(Action&& action) {
  try {
    action();
    return 200;
  } catch (const Refusal& e) {
    return e.status();
  }
}

int status_of(const std::string& bytes) {
  return refusal([&] { parse_http_head(bytes); });
}

TEST(HttpHead, IsReadWithDecodedPathAndQuery) {
  const HttpHead head = head_of("X-Thing:  some value \r\nContent-Length: 12\r\n",
                                "POST /a%2fb//c%41?x=1&y=%20&z HTTP/1.1");
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/a/b//cA");
  EXPECT_THAT(head.segments, ElementsAre("a/b", "", "cA"));
  EXPECT_THAT(head.query, ElementsAre(Pair("x", "1"), Pair("y", " "), Pair("z", "")));
  EXPECT_EQ(head.header("x-thing"), "some value");
  EXPECT_EQ(head.header("none"), "");
  EXPECT_EQ(head.query_value("y"), " ");
  EXPECT_EQ(head.content_length, 12u);
  EXPECT_FALSE(head.is_chunked);
}

TEST(HttpHead, KeepsConnectionsAsItsVersionSays) {
  EXPECT_TRUE(head_of("").keep_alive);
  EXPECT_FALSE(head_of("Connection: a, CLOSE\r\n").keep_alive);
  EXPECT_FALSE(head_of("", "GET / HTTP/1.0").keep_alive);
  EXPECT_TRUE(head_of("Connection: keep-alive\r\n", "GET / HTTP/1.0").keep_alive);
}

TEST(HttpHead, RefusesLengthsThatCanBeReadInTwoWays) {
  for (const char* lines :
       {"Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Content-Length: +1\r\n",
        "Content-Length: -1\r\n", "Content-Length: 0x1\r\n", "Content-Length: 1, 1\r\n",
        "Content-Length:\r\n", "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"})
    EXPECT_EQ(refusal([&] { head_of(lines); }), 400) << lines;
  for (const char* coding : {"gzip", "gzip, chunked", "chunked, identity", "xchunked"})
    EXPECT_THAT(refusal([&] { head_of(std::string("Transfer-Encoding: ") + coding + "\r\n"); }),
                ::testing::AnyOf(400, 501))
        << coding;
  EXPECT_TRUE(head_of("Transfer-Encoding: Chunked\r\n").is_chunked);
  EXPECT_EQ(refusal([] { head_of("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.0"); }), 400);
}

TEST(HttpHead, RefusesWhatIsNoHead) {
  const std::string host = "\r\nHost: h\r\n";
  for (const std::string& bytes : {"GET" + host + "\r\n",
                                   "GET /" + host + "\r\n",

                                   "GET  / HTTP/1.1" + host + "\r\n",
                                   "G(T / HTTP/1.1" + host + "\r\n",
                                   "GET / HTTP/1.1" + host + "A : b\r\n\r\n",
                                   "GET / HTTP/1.1" + host + "A\r\n\r\n",
                                   "GET / HTTP/1.1" + host + ": a\r\n\r\n",
                                   "GET / HTTP/1.1" + host + "A: \x01\r\n\r\n",
                                   "GET / HTTP/1.1" + host + "A: b\r\n c\r\n\r\n",
                                   "GET / HTTP/1.1" + host + "A: b\r\n\tc\r\n\r\n",
                                   "GET x HTTP/1.1" + host + "\r\n",
                                   "GET http://h/ HTTP/1.1" + host + "\r\n",
                                   "GET * HTTP/1.1" + host + "\r\n",
                                   "GET /%0 HTTP/1.1" + host + "\r\n",
                                   "GET /%zz HTTP/1.1" + host + "\r\n",
                                   "GET /%00 HTTP/1.1" + host + "\r\n",
                                   "GET /?a=%0g HTTP/1.1" + host + "\r\n",
                                   "GET / HTTP/1.1" + host,
                                   "GET / HTTP/1.1" + host + host.substr(2) + "\r\n",
                                   std::string("GET / HTTP/1.1\r\n\r\n"),
                                   std::string("\r\n\r\n"),
                                   std::string()})
    EXPECT_EQ(status_of(bytes), 400) << bytes;
  for (const char* version : {"HTTP/1.1 x", "HTTP/2.0", "HTTP/9.9", "HTTP/1", "HTTP/", "HTTQ/1.1"})
    EXPECT_THAT(status_of(std::string("GET / ") + version + host + "\r\n"),
                ::testing::AnyOf(400, 505))
        << version;
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\n\r\n"), 200);
}

TEST(HttpHead, EndsBehindItsEmptyLine) {
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\r\n\r\nbody\n"), 18u);
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\r\nA: b\r\n"), std::string_view::npos);
  EXPECT_EQ(find_head_end(""), std::string_view::npos);
  EXPECT_EQ(refusal([] { find_head_end("GET / HTTP/1.1\n\n"); }), 400);
  EXPECT_EQ(refusal([] { find_head_end("\n"); }), 400);
  EXPECT_EQ(refusal([] { find_head_end(std::string_view("A: \0", 4)); }), 400);
  EXPECT_EQ(refusal([] { find_head_end(std::string(kMostHeadBytes + 1, 'x')); }), 431);
  EXPECT_EQ(refusal([] { find_head_end(std::string(kMostHeadBytes, 'x') + "\r\n\r\n"); }), 431);
  EXPECT_EQ(find_head_end(std::string(kMostHeadBytes, 'x')), std::string_view::npos);
}

TEST(HttpHead, TakesOnlyHarmlessIdsOfRequests) {
  EXPECT_EQ(head_of("X-Request-Id: a-b_C.9\r\n").request_id, "a-b_C.9");
  for (const std::string& id : {std::string("a b"), std::string("a\"b"), std::string(65, 'x')})
    EXPECT_EQ(head_of("X-Request-Id: " + id + "\r\n").request_id, "") << id;
}

std::string deflated(const std::string& text, int bits) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(::deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  return out;
}

TEST(InflateBody, GivesBackWhatWasCompressed) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i);
  for (int bits : {15, 31}) EXPECT_EQ(inflate_body(deflated(text, bits), text.size()), text);
  EXPECT_EQ(inflate_body(deflated("", 31), 0), "");
}

TEST(InflateBody, RefusesBombsAndDamage) {
  const std::string bomb = deflated(std::string(8 << 20, '\0'), 31);
  EXPECT_EQ(refusal([&] { inflate_body(bomb, (8 << 20) - 1); }), 413);
  EXPECT_EQ(inflate_body(bomb, 8 << 20).size(), std::size_t{8} << 20);
  const std::string good = deflated("hello hello hello", 31);
  for (const std::string& bad : {std::string(), std::string("hello"), good.substr(0, 5),
                                 good.substr(0, good.size() - 1), good + "x", good + good})
    EXPECT_EQ(refusal([&] { inflate_body(bad, 1000); }), 400) << bad.size();
}

Route route(const std::string& method, const std::string& pattern) {
  return {method, pattern, Access::kInfer, "", nullptr};
}

HttpHead asks(const std::string& method, const std::string& path) {
  return head_of("", method + " " + path + " HTTP/1.1");
}

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    router_.add({route("GET", "/"), route("GET", "/v2/models/{model}"),
                 route("POST", "/v2/models/{model}"),
                 route("POST", "/v2/models/{model}/versions/{version}/infer"),
                 route("GET", "/v2/models/stats/all")});
  }
  std::string pattern(const std::string& method, const std::string& path) {
    return router_.find(asks(method, path)).route->pattern;
  }
  Router router_;
};

TEST_F(RouterTest, FindsRoutesAndTheValuesInThem) {
  const auto match = router_.find(asks("POST", "/v2/models/a%2f..%2fb/versions/7/infer"));
  EXPECT_EQ(match.route->pattern, "/v2/models/{model}/versions/{version}/infer");
  EXPECT_THAT(match.values, ElementsAre(Pair("model", "a/../b"), Pair("version", "7")));
  EXPECT_EQ(pattern("GET", "/"), "/");
  EXPECT_EQ(pattern("HEAD", "/v2/models/x"), "/v2/models/{model}");
  EXPECT_EQ(router_.find(asks("POST", "/v2/models/x")).route->method, "POST");
}

TEST_F(RouterTest, RefusesUnknownPathsAndMethods) {
  for (const char* path : {"/v2", "/v2/models", "/v2/models/", "/v2/models//", "//v2/models/x",
                           "/V2/models/x", "/v2/models/x/versions/1", "/v2%2fmodels%2fx"})
    EXPECT_EQ(refusal([&] { router_.find(asks("GET", path)); }), 404) << path;
  for (const char* method : {"PUT", "DELETE", "OPTIONS", "get", "HEADX"})
    EXPECT_EQ(refusal([&] { router_.find(asks(method, "/v2/models/x")); }), 405) << method;
  EXPECT_EQ(refusal([&] { router_.find(asks("HEAD", "/v2/models/x/versions/1/infer")); }), 405);
}

Manifest table_model() {
  Manifest m;
  m.name = "model";
  m.input.shape = Shape{3};
  m.output.shape = Shape{1};
  return m;
}

TEST(PredictBody, ReadsOneSampleOrAList) {
  const PredictRows one =
      read_predict_body(R"({"other": [[]], "input": [1, 2.5, -3e2]})", table_model());
  EXPECT_TRUE(one.is_single);
  EXPECT_EQ(one.count, 1);
  EXPECT_THAT(one.values, ElementsAre(1, 2.5f, -300));
  const PredictRows list =
      read_predict_body(R"({"inputs": [[1, 2, 3], [4, 5, 6]]})", table_model());
  EXPECT_FALSE(list.is_single);
  EXPECT_EQ(list.count, 2);
  EXPECT_THAT(list.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(PredictBody, KeepsPixelsThatAreBytesAsBytes) {
  Manifest picture = table_model();
  picture.is_image = true;
  const PredictRows bytes = read_predict_body(R"({"input": [0, 7, 255]})", picture);
  EXPECT_THAT(bytes.pixels, ElementsAre(std::byte{0}, std::byte{7}, std::byte{255}));
  EXPECT_THAT(bytes.values, IsEmpty());
  for (const char* body :
       {R"({"input": [0, 7, 256]})", R"({"input": [0, 7.5, 2]})", R"({"input": [-1, 7, 2]})"}) {
    const PredictRows others = read_predict_body(body, picture);
    EXPECT_THAT(others.pixels, IsEmpty()) << body;
    EXPECT_THAT(others.values, SizeIs(3)) << body;
  }
}

TEST(PredictBody, IsTheSameWithAndWithoutOtherMembers) {
  for (const char* input : {"[1, 2, 3]", "[[1,2,3],[4,5,6]]", "[1, 2]", "[[1, 2, 3], [4]]", "[]"})
    for (const char* form : {R"({"input":IN})", " {\n\"inputs\" :\tIN }\r\n"}) {
      const auto read = [&](const std::string& body) -> std::string {
        try {
          const PredictRows rows = read_predict_body(body, table_model());
          return ::testing::PrintToString(std::tuple(rows.is_single, rows.count, rows.values));
        } catch (const Refusal& e) {
          return e.what();
        }
      };
      std::string alone = form, with = form;
      alone.replace(alone.find("IN"), 2, input);
      with.replace(with.find("IN"), 2, std::string(input) + R"(, "other": 1)");
      EXPECT_EQ(read(alone), read(with)) << alone;
    }
}

TEST(PredictBody, RefusesWhatTheModelDoesNotTake) {
  for (const char* body :
       {"", "{}", "[]", "{", R"({"input": []})", R"({"input": [1, 2]})",
        R"({"input": [1, 2, 3, 4]})", R"({"input": [[1, 2, 3], [1, 2]]})",
        R"({"input": [[1, 2, 3], 4]})", R"({"input": [1, 2, 1e39]})", R"({"input": [1, 2, NaN]})",
        R"({"input": [1, 2, "3"]})", R"({"input": [1, 2, 3]} x)",
        R"({"input": [1, 2, 3], "input": [1, 2, 3]})",
        R"({"input": [1, 2, 3], "inputs": [1, 2, 3]})", R"({"image": "AAAA"})",
        R"({"input": null})", "{\"input\": [1, 2, 3], \"x\": \"\xff\"}", "\x89PNG\r\n\x1a\n"})
    EXPECT_EQ(refusal([&] { read_predict_body(body, table_model()); }), 400) << body;
}

}  // namespace
}  // namespace phalanx
