// SPDX-License-Identifier: Apache-2.0
#include "serve/protocol/predict_body.hpp"
#include "serve_fuzz.hpp"

namespace {

phalanx::Manifest model(bool is_image) {
  phalanx::Manifest m;
  m.name = "model";
  m.is_image = is_image;
  m.input.shape = is_image ? phalanx::Shape{1, 2, 3} : phalanx::Shape{3};
  m.output.shape = phalanx::Shape{2};
  return m;
}

}  // namespace

// The body of a request to /predict, for a model of tables and one of images.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string body = phalanx::text_of(data, size);
  for (bool is_image : {false, true}) {
    const phalanx::Manifest m = model(is_image);
    phalanx::expect_only_refusals_of_requests([&] {
      const phalanx::PredictRows rows = phalanx::read_predict_body(body, m);
      const auto expected = static_cast<std::size_t>(rows.count * m.input.shape.numel());
      phalanx::require(rows.count > 0 && rows.values.size() + rows.pixels.size() == expected,
                       "rows that are not of the model's shape");
    });
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      R"({"input": [1, -2.5, 3e2]})",
      R"({"inputs": [[1, 2, 3], [4, 5, 6]], "other": {"a": [true, null, "\u00e9"]}})",
      R"({"input": [[[1, 2, 3], [4, 5, 6]]]})",
      R"({"input": [1, 2, 3, 4, 5, 6]})",
      R"({"input": [[1, 2, 3], [40, 50, 60], [255, 255, 255], [7, 8, 9], [1, 2, 3], [4, 5, 6]]})",
      R"({"input": [[12, 7, 255, 0, 1000, 9999999], [1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]})",
      "{\"input\": [1," + std::string(70, ' ') + "2 ," + std::string(70, ' ') + "3]}",
      R"({"image": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAA)"
      R"(CklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="})",
      R"({"images": ["iVBORw0KGgo=", "/9j/"]})",
      std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16)};
}
