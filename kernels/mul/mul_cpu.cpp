// SPDX-License-Identifier: Apache-2.0
#include "common/binary.hpp"
#include "mul/mul.hpp"

namespace phalanx {
namespace {

struct Mul {
  static float value(float a, float b) { return a * b; }
  static float da(float dy, float, float b) { return dy * b; }
  static float db(float dy, float a, float) { return dy * a; }
};

}  // namespace

void mul_forward_cpu(OpContext& ctx, Inputs in, Outputs out) { binary_forward<Mul>(ctx, in, out); }
void mul_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  binary_backward<Mul>(ctx, in, out);
}

}  // namespace phalanx
