// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "serve/front.hpp"

namespace phalanx {

/// What a look at everything that a server would read has found.
struct ServeCheck {
  std::vector<std::string>
      lines;  ///< one for every version of every model, and for keys, certificate and port
  std::vector<std::string>
      errors;  ///< all of them; empty: a server with these options would start and load its models
};

/// Reads keys, certificate and the models of the repository: configurations, manifests, and the digests of all files, also of
/// versions that the policy does not choose. Starts no rank; listens for a moment, to see whether it could.
ServeCheck check_serving(const FrontOptions& options);

}  // namespace phalanx
