// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "serve/router.hpp"

namespace phalanx {

/// A file of src/serve/dashboard, part of the program.
struct DashboardFile {
  std::string_view name;
  std::string_view digest;  ///< of the text, hexadecimal
  std::string_view text;
};
std::span<const DashboardFile> dashboard_files() noexcept;

/// GET / and /dashboard/FILE: a page for people that shows what GET /status says, and asks models. Public: it holds no data of
/// the server, and asks for a key where the server wants one.
std::vector<Route> dashboard_routes();

}  // namespace phalanx
