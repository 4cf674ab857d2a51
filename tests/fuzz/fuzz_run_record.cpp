// SPDX-License-Identifier: Apache-2.0
#include "fuzz.hpp"
#include "models/run_record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    phalanx::run_record_from_json(std::string(reinterpret_cast<const char*>(data), size), "input");
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  phalanx::RunRecord record;
  record.model.sample = phalanx::Shape{3, 32, 32};
  record.model.layers = {"dense 10", "relu"};
  record.mean = {0.5f};
  return {phalanx::to_json(record), "{}", "[1, 2]"};
}
