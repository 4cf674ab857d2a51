// SPDX-License-Identifier: Apache-2.0
#include "sgd/sgd.hpp"

#include <fmt/format.h>

#include "common/optimizer.hpp"

namespace phalanx {

void sgd_forward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  if (in.size() != 4)
    throw InvalidArgument(
        fmt::format("sgd takes w, g, v (may be absent) and hyper, found {} inputs", in.size()));
  const bool has_v = !(in[2] == TensorType());
  check_optimizer_vectors("sgd", in.first(has_v ? 3 : 2));
  check_hyper("sgd", in[3], 4);
  require(has_v || attributes.get_int("nesterov", 0) == 0, "sgd: nesterov needs a momentum buffer");
  return with_copy(attributes, {in[0], in[2]});
}

constexpr AliasRule kAliases[] = {{0, 0, AliasKind::kUpdate}, {1, 2, AliasKind::kUpdate}};

}  // namespace

const OpSpec sgd_op = {
    .name = "sgd",
    .onnx = "Momentum",
    .infer = infer,
    .optional_inputs = 0b0100,
    .aliases = kAliases,
    .flops = [](const Attributes&,
                Types in) { return 6 * static_cast<std::uint64_t>(in[0].shape.numel()); },
    .cpu = {.forward = sgd_forward_cpu},
};

}  // namespace phalanx
