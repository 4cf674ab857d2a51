// SPDX-License-Identifier: Apache-2.0
#include "all_reduce/all_reduce.hpp"
#include "common/view.hpp"

namespace phalanx {

void all_reduce_forward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[0], out[0]); }
void all_reduce_backward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[2], out[0]); }

}  // namespace phalanx
