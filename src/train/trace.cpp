// SPDX-License-Identifier: Apache-2.0
#include "train/trace.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "formats/atomic_file.hpp"

namespace phalanx {
namespace {

double microseconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

/// The texts of all ranks, on every rank: their lengths first, then the texts, filled up to the longest.
std::vector<std::string> gather_texts(const std::string& mine, Communicator& comm, Stream& stream) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  const auto length = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> lengths(ranks);
  comm.all_gather({&length, {DType::kI64, Shape{1}}},
                  {lengths.data(), {DType::kI64, Shape{comm.size(), 1}}}, stream);
  const std::int64_t longest = *std::ranges::max_element(lengths);
  std::string padded = mine;
  padded.resize(static_cast<std::size_t>(longest));
  std::string all(ranks * padded.size(), ' ');
  comm.all_gather({padded.data(), {DType::kU8, Shape{longest}}},
                  {all.data(), {DType::kU8, Shape{comm.size(), longest}}}, stream);
  std::vector<std::string> texts;
  for (std::size_t r = 0; r < ranks; ++r)
    texts.push_back(all.substr(r * padded.size(), static_cast<std::size_t>(lengths[r])));
  return texts;
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
