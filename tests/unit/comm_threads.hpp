// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"

namespace phalanx {

/// Runs body(communicator) on one thread for each communicator. Not for bodies that throw.
template <class Body>
void run_threads(std::vector<std::unique_ptr<Communicator>>& comms, Body body) {
  std::vector<std::jthread> threads;
  for (const auto& comm : comms) threads.emplace_back([&body, &comm] { body(*comm); });
}

}  // namespace phalanx
