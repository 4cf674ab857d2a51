// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// Valid inputs of a target, from which mutation starts.
std::vector<std::string> fuzz_seeds();

namespace phalanx {

/// Runs a parser and lets the exceptions pass that are its documented answer to malformed bytes.
template <class F>
void expect_only_refusals(F&& parse);

}  // namespace phalanx

#include "core/error.hpp"

template <class F>
void phalanx::expect_only_refusals(F&& parse) {
  try {
    parse();
  } catch (const InvalidInput&) {  // ConfigError too
  } catch (const Unsupported&) {
  }
}
