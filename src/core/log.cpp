// SPDX-License-Identifier: Apache-2.0
#include "core/log.hpp"

#include <fmt/format.h>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <memory>

namespace phalanx {
namespace {

// spdlog keeps the process's default logger; this is the one place that talks to it.
spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void configure_log(LogLevel lowest, int rank, int size) {
  auto logger =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  logger->set_pattern(size > 1 ? fmt::format("%H:%M:%S.%e %^%l%$ {}/{} %v", host.data(), rank)
                               : "%H:%M:%S.%e %^%l%$ %v");
  logger->set_level(to_spdlog(lowest));
  spdlog::set_default_logger(std::move(logger));
}

void log_line(LogLevel level, std::string_view text) { spdlog::log(to_spdlog(level), "{}", text); }

}  // namespace phalanx
