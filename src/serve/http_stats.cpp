// SPDX-License-Identifier: Apache-2.0
#include "serve/http_stats.hpp"

#include <algorithm>

namespace phalanx {

void HttpStats::add(const HttpRecord& record) {
  ++requests;
  received_bytes += record.received_bytes;
  sent_bytes += record.sent_bytes;
  seconds.add(record.seconds);
  const std::string route = record.exchange != nullptr ? record.exchange->route : std::string();
  ++by_route[{route, record.status}];
  ++by_class[static_cast<std::size_t>(std::clamp(record.status / 100, 0, 5))];
}

}  // namespace phalanx
