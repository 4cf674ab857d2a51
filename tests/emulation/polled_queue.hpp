// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "simt/engine.hpp"

namespace phalanx::emulation {

/// A queue that may hold work which something outside has to finish, as a collective waits for other ranks. The emulated
/// streams are of this kind.
class PolledQueue : public simt::Queue {
 public:
  /// `work` is asked until it returns true; what comes behind it waits. It never blocks. If the queue is being captured, each
  /// launch of the graph asks a copy of `work` as it was when it was added.
  virtual void add_polled(std::function<bool()> work) = 0;
  /// Does what can be done without waiting. Any thread may call.
  virtual void advance() = 0;
};

}  // namespace phalanx::emulation
