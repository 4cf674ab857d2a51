// SPDX-License-Identifier: Apache-2.0
#include "common/view.hpp"
#include "identity/identity.hpp"

namespace phalanx {

void identity_forward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[0], out[0]); }
void identity_backward_cpu(OpContext&, Inputs in, Outputs out) { copy_bytes(in[2], out[0]); }

}  // namespace phalanx
