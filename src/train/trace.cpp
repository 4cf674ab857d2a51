// SPDX-License-Identifier: Apache-2.0
#include "train/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "comm/gather_texts.hpp"
#include "formats/atomic_file.hpp"

namespace phalanx {
namespace {

double microseconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

}  // namespace

Trace::Trace(Communicator& comm) {
  comm.barrier();
  start_ = std::chrono::steady_clock::now();
}

void Trace::add(std::string name, Track track, Time begin, Time end) {
  events_.push_back({std::move(name), track, begin, end});
}

std::string Trace::events(int rank, const std::string& host) const {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  const auto name = [&](const char* what, int track, const std::string& text) {
    all.push_back(
        {{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"name", text}}}});
  };
  name("process_name", 0, fmt::format("rank {} on {}", rank, host));
  name("thread_name", 0, "training");
  name("thread_name", 1, "communication");
  if (std::ranges::find(events_, Track::kDevice, &Event::track) != events_.end())
    name("thread_name", 2, "GPU");
  for (const Event& e : events_)
    all.push_back({{"name", e.name},
                   {"ph", "X"},
                   {"pid", rank},
                   {"tid", static_cast<int>(e.track)},
                   {"ts", microseconds(e.begin - start_)},
                   {"dur", microseconds(e.end - e.begin)}});
  const std::string text = all.dump();
  return text.substr(1, text.size() - 2);
}

void Trace::write(const std::string& path, const RankLayout& layout, Communicator& comm,
                  Stream& stream) const {
  const std::string mine = events(layout.rank, layout.host);
  const std::vector<std::string> all = gather_texts(mine, comm, stream);
  if (layout.rank == 0)
    write_file_atomically(path,
                          fmt::format("{{\"traceEvents\":[\n{}\n]}}\n", fmt::join(all, ",\n")));
}

}  // namespace phalanx
