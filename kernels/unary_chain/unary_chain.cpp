// SPDX-License-Identifier: Apache-2.0
#include "unary_chain/unary_chain.hpp"

#include <fmt/format.h>

#include <charconv>

#include "common/unary.hpp"

namespace phalanx {

void unary_chain_forward_cpu(OpContext& ctx, Inputs in, Outputs out);
void unary_chain_backward_cpu(OpContext& ctx, Inputs in, Outputs out);

namespace {

using Kind = UnaryLink::Kind;

struct Named {
  std::string_view name;
  Kind kind;
  double default_alpha = -1;  // none
};

constexpr Named kOperators[] = {
    {"elu", Kind::kElu, 1}, {"gelu", Kind::kGelu},       {"leaky_relu", Kind::kLeakyRelu, 0.01},
    {"relu", Kind::kRelu},  {"sigmoid", Kind::kSigmoid}, {"softplus", Kind::kSoftplus},
    {"tanh", Kind::kTanh},
};

/// "leaky_relu(0.2)"
UnaryLink link_of(std::string_view text) {
  const auto refuse = [&] {
    return InvalidArgument(fmt::format(
        "unary_chain: expected elu, gelu, leaky_relu, relu, sigmoid, softplus or tanh, alpha or "
        "tanh in parentheses where these have it, found '{}'",
        text));
  };
  const std::size_t open = std::min(text.find('('), text.size());
  std::string_view argument = text.substr(open);
  for (const Named& op : kOperators) {
    if (op.name != text.substr(0, open)) continue;
    UnaryLink link{op.kind, op.default_alpha};
    if (argument.empty()) return link;
    if (argument.back() != ')') throw refuse();
    argument = argument.substr(1, argument.size() - 2);
    if (op.kind == Kind::kGelu && argument == "tanh") return {Kind::kGeluByTanh, -1};
    const char* end = argument.data() + argument.size();
    const auto [parsed, error] = std::from_chars(argument.data(), end, link.alpha);
    if (op.default_alpha < 0 || error != std::errc() || parsed != end || !(link.alpha >= 0))
      throw refuse();
    return link;
  }
  throw refuse();
}

}  // namespace

UnaryChain unary_chain_of(const Attributes& attributes) {
  std::string_view ops = attributes.get_string("ops", "");
  UnaryChain chain;
  std::size_t links = 0;
  for (bool more = !ops.empty(); more; ++links) {
    const std::size_t comma = ops.find(',');
    const UnaryLink link = link_of(ops.substr(0, comma));
    if (links < chain.links.size()) chain.links[links] = link;
    more = comma != std::string_view::npos;
    if (more) ops.remove_prefix(comma + 1);
  }
  if (links < 2 || links > chain.links.size())
    throw InvalidArgument(fmt::format("unary_chain: ops must name 2 to {} operators, found {}",
                                      chain.links.size(), links));
  chain.count = static_cast<int>(links);
  return chain;
}

namespace {

std::vector<TensorType> infer(const Attributes& attributes, Types in) {
  (void)unary_chain_of(attributes);
  return infer_unary("unary_chain", in);
}

}  // namespace

const OpSpec unary_chain_op = {
    .name = "unary_chain",
    .onnx = "",
    .infer = infer,
    .differentiable = 0b1,
    .needs_inputs = 0b1,
    .layout = LayoutRule::kSame,
    .aliases = kUnaryAliases,
    .dx_may_overwrite_dy = 0b1,
    .cpu = {.forward = unary_chain_forward_cpu, .backward = unary_chain_backward_cpu},
};

}  // namespace phalanx
