// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "op/op.hpp"

namespace phalanx {

/// A chain of elementwise operators:  y = f_n(... f_2(f_1(x))). Inserted by the pass `fuse_unary_chains`, never by users.
///
/// Shapes    x, y equal, any rank, any memory format.
/// Types     f32 or bf16; computed in f32, which is rounded once, at the end.
/// Attributes ops: 2 to 8 operators in the order in which they apply, separated by commas: elu, gelu, leaky_relu, relu,
///           sigmoid, softplus, tanh. elu and leaky_relu may have their alpha behind them and gelu its approximation:
///           "leaky_relu(0.2),gelu(tanh),elu".
/// Aliasing  y may be x if no backward follows. dx may be dy.
/// Gradients dx = dy * f_n'(...) * ... * f_1'(x). Reads x, from which it computes the values between again. The product is
///           taken from the last operator to the first, on a GPU from the first to the last.
/// Empty     nothing is done.
/// Throws    InvalidArgument for a type that is not floating, or a list that is none of these.
extern const OpSpec unary_chain_op;

struct UnaryLink {
  enum class Kind : std::uint8_t {
    kElu,
    kGelu,
    kGeluByTanh,
    kLeakyRelu,
    kRelu,
    kSigmoid,
    kSoftplus,
    kTanh
  };
  Kind kind = Kind::kRelu;
  double alpha = 0;  ///< of kElu and kLeakyRelu
};

struct UnaryChain {
  static constexpr int kMostLinks = 8;
  std::array<UnaryLink, kMostLinks> links{};
  int count = 0;
};

/// What the attribute `ops` means.
/// Throws    InvalidArgument as above.
UnaryChain unary_chain_of(const Attributes& attributes);

}  // namespace phalanx
