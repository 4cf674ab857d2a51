// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"
#include "models/load.hpp"

namespace phalanx {

struct InPlaceOptions {
  std::string program;  ///< of the front end, which rank 0 starts with the argument `serve`
  std::vector<std::string> flags;    ///< of it: address, port, ...
  std::string model = "model";       ///< name that it is served by
  std::function<bool()> should_end;  ///< whether this process was asked to end, by a signal
};

/// Serves a network in the processes that trained it, without a file in between: rank 0 starts a front end beside the job,
/// and all ranks answer for it until it says that it is over. A signal to rank 0 drains it (`should_end`). Called by every
/// rank.
/// If a rank dies, so does the job; the front end then says so and ends as well.
/// Throws    IoError if the front end cannot be started; CommError.
void serve_in_place(const InPlaceOptions& options, const RankLayout& layout, Communicator& comm,
                    LoadedModel loaded, Stream& stream);

}  // namespace phalanx
