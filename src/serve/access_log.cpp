// SPDX-License-Identifier: Apache-2.0
#include "serve/access_log.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/error.hpp"

namespace phalanx {

void AccessLog::Close::operator()(std::FILE* file) const noexcept {
  if (file == stdout)
    std::fflush(file);
  else
    std::fclose(file);
}

AccessLog::AccessLog(const std::string& path) {
  if (path.empty()) return;
  file_.reset(path == "-" ? stdout : std::fopen(path.c_str(), "ae"));
  if (!file_)
    throw IoError(fmt::format("access-log: cannot open {}: {}", path, std::strerror(errno)));
}

void AccessLog::write(const HttpRecord& r) {
  if (!file_) return;
  const auto now =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto ms = now.time_since_epoch().count() % 1000;
  std::string line = fmt::format(
      R"({{"time":"{:%Y-%m-%dT%H:%M:%S}.{:03}Z","client":{},"status":{})",
      fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms, json_text(r.client), r.status);
  if (r.exchange != nullptr) {
    const HttpExchange& x = *r.exchange;
    constexpr std::size_t kLongest = 200, kLongestMethod = 16;
    line +=
        fmt::format(R"(,"method":{},"path":{},"request_id":{})",
                    json_text(x.head().method.substr(0, kLongestMethod)),
                    json_text(x.head().path.substr(0, kLongest)), json_text(x.head().request_id));
    if (!x.user.empty()) line += ",\"key\":" + json_text(x.user);
    if (!x.model.empty())
      line += fmt::format(
          R"(,"model":{},"version":{},"rows":{},"batch_rows":{},"queue_us":{},"compute_us":{})",
          json_text(x.model), json_text(x.version), x.rows, x.batch_rows, x.queue_ns / 1000,
          x.compute_ns / 1000);
  }
  line += fmt::format(R"(,"received_bytes":{},"sent_bytes":{},"us":{:.0f}}})", r.received_bytes,
                      r.sent_bytes, r.seconds * 1e6);
  line += '\n';
  waiting_ += line;
  constexpr std::size_t kMost = std::size_t{64} << 10;
  if (waiting_.size() >= kMost) flush();
}

void AccessLog::flush() {
  if (!file_ || waiting_.empty()) return;
  std::fwrite(waiting_.data(), 1, waiting_.size(), file_.get());
  std::fflush(file_.get());
  waiting_.clear();
}

}  // namespace phalanx
