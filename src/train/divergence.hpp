// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "graph/parameters.hpp"

namespace phalanx {

/// Compares a hash of every parameter over all ranks. Called by every rank.
///
/// `except`: a parameter of which ranks hold parts; empty: none.
/// Throws    DivergenceError on every rank if they differ, naming the first such parameter, its first deviating rank, and
///           how many more there are. The value that most ranks have is taken to be right; in a tie, rank 0's.
void check_divergence(const ParameterSet& parameters, const std::string& except,
                      const RankLayout& layout, Communicator& comm, Stream& stream);

}  // namespace phalanx
