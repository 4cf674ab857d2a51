// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "fuzz.hpp"
#include "serve/inference.hpp"
#include "serve/protocol/open_inference_request.hpp"

namespace {

using namespace phalanx;

/// What the header of a request says stands in the first line, its body behind that.
void read(std::string_view text, const InferSchema& schema) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view header = text.substr(0, end);
  const std::string_view body = text.substr(std::min(end + 1, text.size()));
  const std::size_t size = parse_json_size(header, body.size()).value_or(body.size());
  const std::string_view raw = body.substr(size);
  const InferRequest request = size == 0
                                   ? infer_request_of_raw(raw.size(), schema)
                                   : parse_infer_json(body.substr(0, size), raw.size(), schema);
  // What is accepted fits into what is taken for it.
  const std::size_t bytes = input_bytes(request, schema);
  const std::size_t found =
      request.is_raw ? raw.size() : request.values.size() * sizeof(float) + request.pixels.size();
  const bool is_sound = request.rows >= 1 && request.rows <= schema.max_batch_size &&
                        found == bytes && request.classes <= schema.outputs &&
                        (schema.takes_u8 || !request.is_u8);
  if (!is_sound) std::abort();
  if (!request.is_raw || request.is_u8) return check_finite(request.values, schema);
  std::vector<float> values(raw.size() / sizeof(float));
  std::memcpy(values.data(), raw.data(), raw.size());
  check_finite(values, schema);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  InferSchema features;
  features.model = "m";
  features.input = "x";
  features.output = "y";
  features.sample = Shape{4};
  features.outputs = 3;
  features.max_batch_size = 8;
  InferSchema pictures = features;
  pictures.sample = Shape{1, 2, 2};
  pictures.takes_u8 = true;
  for (const InferSchema& schema : {features, pictures}) {
    try {
      read(text, schema);
    } catch (const Refusal&) {
    }
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const auto with_size = [](const std::string& json, const std::string& raw) {
    return std::to_string(json.size()) + "\n" + json + raw;
  };
  return {
      with_size(R"({"id":"42","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":)"
                R"({"binary_data_size":16}}],"parameters":{"binary_data_output":true}})",
                std::string(16, '\1')),
      with_size(R"({"inputs":[{"name":"x","shape":[2,1,2,2],"datatype":"UINT8","parameters":)"
                R"({"binary_data_size":8}}],"outputs":[{"name":"y","parameters":)"
                R"({"classification":2,"binary_data":true}}]})",
                "abcdefgh"),
      "\n"
      R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1.0,-2.5e3,3,4]}],)"
      R"("outputs":[{"name":"y","parameters":{"binary_data":false}}],"parameters":)"
      R"({"sequence_id":7,"sequence_start":true,"priority":1,"timeout":1000}})",
      "\n"
      R"({"inputs":[{"name":"x","shape":[1,1,2,2],"datatype":"UINT8","data":[[[[0,255],[7,8]]]]}]})",
      "\n"
      R"({"inputs":[{"name":"x","shape":[5,4],"datatype":"FP32","data":[1,20,255,9999999,)"
      R"(1, 2, 3, 4,5,6,7,8,90,100,110,120, 13, 14, 15, 16]}]})",
      "0\n" + std::string(16, '\0'),
      "0\nabcd"};
}
