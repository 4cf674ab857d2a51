// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace phalanx {

/// The texts of all ranks, in their order, on every rank. Called by every rank.
std::vector<std::string> gather_texts(const std::string& mine, Communicator& comm, Stream& stream);

}  // namespace phalanx
