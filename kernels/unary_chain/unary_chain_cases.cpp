// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "common/unary_cases.hpp"
#include "unary_chain/unary_chain.hpp"

namespace phalanx {
namespace {

using Kind = UnaryLink::Kind;

double value(const UnaryLink& link, double x) {
  switch (link.kind) {
    case Kind::kElu: return x > 0 ? x : link.alpha * std::expm1(x);
    case Kind::kGelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Kind::kGeluByTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Kind::kLeakyRelu: return x > 0 ? x : link.alpha * x;
    case Kind::kRelu: return x > 0 ? x : 0;
    case Kind::kSigmoid: return 1 / (1 + std::exp(-x));
    case Kind::kSoftplus: return std::log1p(std::exp(x));
    case Kind::kTanh: return std::tanh(x);
  }
  return x;
}

void reference(const Attributes& attributes, Types, OpCases::Vectors in, OpCases::Vectors out) {
  const UnaryChain chain = unary_chain_of(attributes);
  std::ranges::transform(in[0], out[0].begin(), [&](double x) {
    for (int k = 0; k < chain.count; ++k) x = value(chain.links[k], x);
    return x;
  });
}

Attributes ops(std::string_view list) { return {{"ops", std::string(list)}}; }

OpCases::Refusal refusal(std::string_view name, std::string_view list, std::string_view message) {
  return {.name = name,
          .attributes = ops(list),
          .inputs = {{DType::kF32, Shape{3}}},
          .message = message};
}

}  // namespace

extern const OpCases unary_chain_cases;
const OpCases unary_chain_cases = {
    .op = &unary_chain_op,
    .reference = reference,
    .cases =
        {
            {.name = "two",
             .attributes = ops("leaky_relu(0.2),sigmoid"),
             .inputs = unary_vector,
             .fill = {Fill::kAwayFromZero},
             .benchmark_n = 1 << 22},
            {.name = "eight",
             .attributes =
                 ops("elu(0.7),tanh,leaky_relu,gelu,sigmoid,gelu(tanh),softplus,leaky_relu(3e-1)"),
             .inputs = unary_vector,
             .fill = {Fill::kAwayFromZero}},
            {.name = "image",
             .attributes = ops("relu,elu,sigmoid,tanh,relu"),
             .inputs = unary_image,
             .fill = {Fill::kAwayFromZero},
             .sizes = {0, 1, 3, 17}},
        },
    .refusals =
        {
            {.name = "integers",
             .attributes = ops("relu,tanh"),
             .inputs = {{DType::kI64, Shape{3}}},
             .message = "floating"},
            {.name = "no list", .inputs = {{DType::kF32, Shape{3}}}, .message = "found 0"},
            refusal("one operator", "relu", "2 to 8 operators, found 1"),
            refusal("nine operators", "relu,tanh,relu,tanh,relu,tanh,relu,tanh,relu", "found 9"),
            refusal("an operator of two inputs", "relu,add", "found 'add'"),
            refusal("an operator without a name", "relu,,tanh", "found ''"),
            refusal("an alpha that relu does not have", "relu(0.1),tanh", "found 'relu(0.1)'"),
            refusal("a negative alpha", "tanh,elu(-1)", "found 'elu(-1)'"),
            refusal("half an alpha", "tanh,elu(1", "found 'elu(1'"),
            refusal("more than an alpha", "tanh,elu(1x)", "found 'elu(1x)'"),
            refusal("another approximation", "tanh,gelu(erf)", "found 'gelu(erf)'"),
        },
};

}  // namespace phalanx
