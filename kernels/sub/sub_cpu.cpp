// SPDX-License-Identifier: Apache-2.0
#include "common/binary.hpp"
#include "sub/sub.hpp"

namespace phalanx {
namespace {

struct Sub {
  static float value(float a, float b) { return a - b; }
  static float da(float dy, float, float) { return dy; }
  static float db(float dy, float, float) { return -dy; }
};

}  // namespace

void sub_forward_cpu(OpContext& ctx, Inputs in, Outputs out) { binary_forward<Sub>(ctx, in, out); }
void sub_backward_cpu(OpContext& ctx, Inputs in, Outputs out) {
  binary_backward<Sub>(ctx, in, out);
}

}  // namespace phalanx
