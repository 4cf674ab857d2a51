// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "models/network.hpp"

namespace phalanx {

/// A network for nothing but inference: every batch norm behind a convolution or dense layer is a part of its weights and
/// bias,  w' = w s, b' = (b - mean) s + shift  with  s = scale / sqrt(var + epsilon)  per output channel, computed in double.
/// Where there is none to fold, `trained` itself comes back. Both use the stream of `trained`.
/// Source    Jacob et al. 2018, arXiv:1712.05877, section 3.2.
std::unique_ptr<Network> fold_for_serving(std::unique_ptr<Network> trained, std::int64_t batch,
                                          Stream& stream);

}  // namespace phalanx
