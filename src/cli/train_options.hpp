// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/options.hpp"
#include "train/config.hpp"

namespace phalanx {

/// Every key of TrainConfig bound to `config`, which must outlive the table; defaults are the
/// present values. With a configuration file, --dump-config and the checks of several keys
/// together.
OptionTable train_options(TrainConfig& config);

/// The configuration that the arguments of `phalanx train` (without program and subcommand names)
/// describe. For callers that want neither --help nor --dump-config; the subcommand itself uses
/// train_options.
/// Throws    ConfigError as OptionTable, also if the arguments ask for --help or --dump-config.
TrainConfig parse_train_config(std::span<const std::string> args);

/// The configuration in a text, as dump_config writes it; keys that are missing have their
/// defaults.
/// Throws    ConfigError as OptionTable; `name` stands in its text.
TrainConfig read_train_config(std::string_view text, std::string_view name);

/// The configuration as a file; read_train_config of it gives an equal struct.
std::string dump_config(const TrainConfig& config);

}  // namespace phalanx
