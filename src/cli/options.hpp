// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cli/config_file.hpp"

namespace phalanx {

/// What the command line asks the program to do.
enum class CliAction {
  kRun,
  kHelp,        ///< --help or -h was given: print help() and leave
  kDumpConfig,  ///< --dump-config was given: print dump() and leave
};

/// One key: where its value goes, what may stand there and how people are told about it.
class Option {
 public:
  using Target =
      std::variant<std::string*, std::int64_t*, double*, bool*, std::vector<std::string>*>;

  /// Only one of these texts.
  Option& choices(std::vector<std::string> allowed);
  /// Only numbers >= least.
  Option& at_least(double least);
  /// Only numbers > bound.
  Option& above(double bound);
  /// Only numbers < bound.
  Option& below(double bound);
  /// Only numbers <= most.
  Option& at_most(double most);
  /// A text that must not be empty, if set.
  Option& not_empty();
  /// Has to be given, or not be empty, when the action is kRun.
  Option& required();
  /// Takes words of the command line that belong to no flag: all of them for a list, else one.
  Option& positional();

 private:
  friend class OptionTable;

  std::string value_text() const;           ///< as in a file; lists have no single text
  std::string default_text() const;         ///< for people
  std::string constraint_text() const;      ///< "an integer >= 1"; what a value must be
  std::string range_text() const;           ///< ">= 0 and < 1"; empty without bounds
  std::string limits_text() const;          ///< "sgd | adam" or range_text()
  std::string placeholder() const;          ///< "<samples>"; the value in the help
  bool holds(double value) const noexcept;  ///< within the bounds
  void assign(const std::string& value, const std::string& origin);  ///< throws ConfigError
  bool is_list() const noexcept;

  std::string key_;
  Target target_;
  std::string unit_;
  std::string help_;
  std::string group_;
  std::string origin_;   ///< of the present value; empty: the default
  std::string default_;  ///< default_text() when the option was added
  std::vector<std::string> choices_;
  double low_ = -std::numeric_limits<double>::infinity();
  double high_ = std::numeric_limits<double>::infinity();
  bool low_open_ = false;
  bool high_open_ = false;
  bool not_empty_ = false;
  bool required_ = false;
  bool positional_ = false;
};

/// The options of one subcommand, bound to the members of a struct that outlives the table. The
/// table is the only place that knows keys, defaults and help; command line, configuration file,
/// --help, --dump-config and the README use it.
///
/// Example   ImportOptions o;
///           OptionTable table("phalanx data import [options] <file>...");
///           table.group("Input");
///           table.add("format", &o.format, "", "layout of the files").choices({"idx", "cifar"});
///           table.add("input", &o.input, "path", "files to read").required().positional();
///           if (table.parse(args) == CliAction::kHelp) print(table.help());
///
/// Values    A flag beats the file, the file beats the default. Among flags the last one counts. A
///           list collects every entry of its file; given as a flag at all, it replaces the file's
///           list. Booleans are true or false; as a flag, `--key` alone means true.
/// Errors    ConfigError naming file and line, or "command line", the key, what was expected and
///           what was found: unknown key (with the nearest one), wrong type, value outside its
///           range or set, the same key twice in one file (both lines), missing value, stray word.
class OptionTable {
 public:
  /// `usage`: one line, "phalanx train [options] <config>".
  explicit OptionTable(std::string usage);

  /// Title above the options that follow.
  void group(std::string title);

  /// Adds an option whose default is the present value of the target. `unit` may be empty ("s",
  /// "pixels", "path"). The result is valid until the next add().
  /// Throws    InvalidArgument if the key exists.
  Option& add(std::string key, Option::Target target, std::string unit, std::string help);

  /// Adds --config FILE, the same as a positional word, and --dump-config.
  void accept_config_file();

  /// A check of several options together, run after a parse that ends in kRun or kDumpConfig; call
  /// refuse() in it.
  void add_check(std::function<void(const OptionTable&)> check);

  /// Reads the arguments (without program and subcommand names) and the file they name, if any.
  [[nodiscard]] CliAction parse(std::span<const std::string> args);

  /// Applies a configuration text, checks included; the name is for messages. For effective
  /// configurations stored elsewhere.
  void read_text(std::string_view text, std::string_view name);

  /// Throws ConfigError "<where the key was set>: <key>: <what>".
  [[noreturn]] void refuse(std::string_view key, std::string_view what) const;

  /// Options by group with units, limits and defaults, at most 100 columns.
  std::string help() const;

  /// Every key and its present value; read_text() of it gives the same values, doubles bit by bit.
  std::string dump() const;

  /// One Markdown table per group: key, unit, default, meaning.
  std::string markdown() const;

 private:
  std::vector<Setting> parse_arguments(std::span<const std::string> args) const;
  std::vector<std::string> with_explicit_booleans(std::span<const std::string> args) const;
  void apply(const std::vector<Setting>& settings, bool from_file);
  void place_words(std::vector<Setting>& settings) const;
  void run_checks() const;
  void check_required() const;
  const Option& at(std::string_view key) const;
  Option* find(std::string_view key) noexcept;
  const Option* find(std::string_view key) const noexcept;
  [[noreturn]] void refuse_unknown(const Setting& setting) const;
  [[noreturn]] void refuse_missing(const std::string& key) const;

  std::string usage_;
  std::string group_ = "Options";
  std::vector<Option> options_;
  std::vector<std::function<void(const OptionTable&)>> checks_;
  bool accepts_config_ = false;
};

}  // namespace phalanx
