// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace phalanx {

/// One `key = value` of a configuration file or one `--key value` of a command line.
struct Setting {
  std::string key;     ///< without leading dashes
  std::string value;   ///< without quotes and comment
  std::string origin;  ///< "run.conf:12" or "command line"
};

/// The settings of a configuration text, in order.
///
/// Syntax    One `key = value` per line. White space around key and value does not count. `#` at
///           the start of a line or after white space begins a comment. A value in double quotes is
///           taken as it stands; within it \" \\ \n \r \t are escapes. Keys may repeat here;
///           OptionTable decides which of them may.
/// Throws    ConfigError "<name>:<line>: ..." on a [section], a line without '=', an empty or
///           malformed key, an unfinished quote, text after a quote, or a NUL byte.
std::vector<Setting> parse_config_text(std::string_view text, std::string_view name);

/// The settings of a file.
/// Throws    ConfigError if it cannot be read or is longer than 16 MiB, and as parse_config_text.
std::vector<Setting> read_config_file(const std::string& path);

/// A value as it must stand in a file to be read back unchanged: in quotes only if it needs them.
std::string quote_config_value(std::string_view value);

}  // namespace phalanx
