// SPDX-License-Identifier: Apache-2.0
#include "common/binary.hpp"
#include "div/div.hpp"

namespace phalanx {
namespace {

struct Div {
  static float value(float a, float b) { return a / b; }
  static float da(float dy, float, float b) { return dy / b; }
  static float db(float dy, float a, float b) { return -dy * a / (b * b); }
};

}  // namespace

void div_forward_cpu(OpContext& ctx, Inputs in, Outputs out) { binary_forward<Div>(ctx, in, out); }
void div_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  binary_backward<Div>(ctx, in, out);
}

}  // namespace phalanx
