// SPDX-License-Identifier: Apache-2.0
#include "adam/adam.hpp"

#include <fmt/format.h>

#include "common/optimizer.hpp"

namespace phalanx {

void adam_forward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  if (in.size() != 5)
    throw InvalidArgument(
        fmt::format("adam takes w, g, m, v and hyper, found {} inputs", in.size()));
  check_optimizer_vectors("adam", in.first(4));
  check_hyper("adam", in[4], 8);
  return with_copy(attributes, {in[0], in[2], in[3]});
}

constexpr AliasRule kAliases[] = {
    {0, 0, AliasKind::kUpdate}, {1, 2, AliasKind::kUpdate}, {2, 3, AliasKind::kUpdate}};

}  // namespace

const OpSpec adam_op = {
    .name = "adam",
    .onnx = "Adam",
    .infer = infer,
    .aliases = kAliases,
    .flops = [](const Attributes&,
                Types in) { return 14 * static_cast<std::uint64_t>(in[0].shape.numel()); },
    .cpu = {.forward = adam_forward_cpu},
};

}  // namespace phalanx
