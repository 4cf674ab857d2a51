// SPDX-License-Identifier: Apache-2.0
#include "cli/train_options.hpp"
#include "fuzz.hpp"
#include "models/model.hpp"

// A configuration, and the layer lines in it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  phalanx::expect_only_refusals([&] {
    const phalanx::TrainConfig config = phalanx::read_train_config(
        std::string_view(reinterpret_cast<const char*>(data), size), "input");
    phalanx::ModelSpec spec{
        .layers = config.layer, .sample = phalanx::Shape{3, 8, 8}, .outputs = 10};
    phalanx::build_model(spec, 2);
  });
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {
      "data = x.h5\nlayer = conv 16 3x3 pad 1\nlayer = relu\nlayer = max_pool 2x2\nlayer = dense "
      "10\nepochs = 3\n",
      "data = \"a # b\"  # comment\nlearning-rate = 1e-3\nnesterov = true\nmomentum = 0.9\n",
      "data = x\nlayer = batch_norm momentum 0.9\nlayer = conv 8 3x3 groups 1 stride 2 "
      "no-bias\nlayer = dropout 0.5\n"
      "layer = global_average_pool\nlayer = leaky_relu 0.1\nlayer = dense 10\n"};
}
