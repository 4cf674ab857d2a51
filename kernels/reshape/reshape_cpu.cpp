// SPDX-License-Identifier: Apache-2.0
#include "common/view.hpp"
#include "reshape/reshape.hpp"

namespace phalanx {

void reshape_forward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[0], out[0]); }
void reshape_backward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[2], out[0]); }

}  // namespace phalanx
