// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "comm/rank_layout.hpp"
#include "models/load.hpp"
#include "serve/manifest.hpp"

namespace phalanx {

/// Where the front end of this rank listens, as it told the processes that it started.
struct FrontAddress {
  std::string unix_name;  ///< of an abstract socket, for ranks of the front end's host
  std::string host;       ///< the front end's, as RankLayout names it
  int port = 0;           ///< TCP, for ranks of other hosts; 0: none
  std::string token;

  /// "NAME,HOST,PORT" of kFrontAddressVariable.
  std::string text() const;
  /// Of the environment; none if this process was not started by a front end.
  static std::optional<FrontAddress> from_environment();
  /// The token alone; empty if there is none.
  static std::string token_from_environment();
};

/// A model that training leaves in memory.
struct InPlaceModel {
  Manifest manifest;
  LoadedModel loaded;
  Stream* stream = nullptr;  ///< the network's
};

/// Serves one rank until the front end says that it is over, or is gone: loads models in a thread of low priority, runs
/// batches in the order in which they come. `in_place`: served as the model of its name and version without being loaded.
/// Throws    IoError if the front end cannot be reached; CommError if it says what cannot be understood.
void serve_rank(const FrontAddress& front, const RankLayout& layout,
                InPlaceModel* in_place = nullptr);

}  // namespace phalanx
