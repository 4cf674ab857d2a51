// SPDX-License-Identifier: Apache-2.0
#include "serve/manifest.hpp"
#include "serve_fuzz.hpp"

// What is read once is read again as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    const phalanx::Manifest m = phalanx::manifest_from_json(phalanx::text_of(data, size), "input");
    phalanx::require<phalanx::Error>(
        phalanx::manifest_from_json(phalanx::to_json(m), "written") == m,
        "a manifest changes when it is written");
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  phalanx::Manifest image;
  image.name = "image";
  image.version = 1;
  image.files[phalanx::kWeightsFile] = {123, std::string(64, 'a')};
  image.task = phalanx::Task::kClassification;
  image.input.shape = phalanx::Shape{1, 8, 8};
  image.output.shape = phalanx::Shape{2};
  image.is_image = true;
  image.normalise = true;
  image.mean = {0.5f};
  image.std = {0.25f};
  image.labels = {"a", "b"};
  image.metrics["accuracy"] = 0.5;
  phalanx::Manifest table = image;
  table.task = phalanx::Task::kRegression;
  table.is_image = table.normalise = false;
  table.input.shape = phalanx::Shape{7};
  table.normalise_targets = true;
  table.target_mean = {1, 2};
  table.target_std = {3, 4};
  return {phalanx::to_json(image), phalanx::to_json(table), "{}"};
}
