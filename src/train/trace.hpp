// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/rank_layout.hpp"

namespace phalanx {

/// What every rank did when, as a file that Perfetto and chrome://tracing open (Trace Event Format of the Chromium project,
/// complete events). One process per rank, with one track for the training thread, one for communication and one for the GPU,
/// if the rank has one.
///
/// Clocks of different hosts are aligned at the barrier of the constructor, to about the time that a barrier takes.
class Trace {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Track : std::uint8_t { kTraining = 0, kCommunication = 1, kDevice = 2 };

  /// Collective: all ranks start their clocks together.
  explicit Trace(Communicator& comm);

  void add(std::string name, Track track, Time begin, Time end);
  /// The events of this rank as the inside of a JSON array.
  std::string events(int rank, const std::string& host) const;
  /// Rank 0 writes the events of all ranks. Collective.
  /// Throws    IoError.
  void write(const std::string& path, const RankLayout& layout, Communicator& comm,
             Stream& stream) const;

 private:
  struct Event {
    std::string name;
    Track track;
    Time begin, end;
  };
  Time start_;
  std::vector<Event> events_;
};

}  // namespace phalanx
