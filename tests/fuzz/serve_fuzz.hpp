// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "fuzz.hpp"
#include "serve/inference.hpp"

namespace phalanx {

/// Runs a parser of a request and lets refusals pass, which are its answer to what clients may send. 5xx is for what the
/// server does not know yet, never for "the server broke".
template <class F>
void expect_only_refusals_of_requests(F&& parse) {
  try {
    parse();
  } catch (const Refusal& e) {
    if (e.status() == 500) throw;
  }
}

inline std::string text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace phalanx
