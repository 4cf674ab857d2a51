// SPDX-License-Identifier: Apache-2.0
#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cmath>
#include <map>
#include <sstream>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

namespace po = boost::program_options;

constexpr unsigned kColumns = 100;
constexpr const char* kCommandLine = "command line";
constexpr const char* kWord = "";  // key of a word that belongs to no flag

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

const char* bool_text(bool value) { return value ? "true" : "false"; }

// "--key=value" -> "key"
std::string bare_key(std::string_view flag) {
  const auto first = std::min(flag.find_first_not_of('-'), flag.size());
  return std::string(flag.substr(first, flag.find('=') - first));
}

std::string markdown_cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

po::options_description builtin_options(bool accepts_config) {
  po::options_description builtin("General", kColumns, kColumns / 2);
  if (accepts_config) {
    builtin.add_options()("config", po::value<std::string>()->value_name("<path>"),
                          "configuration file; the flag itself may be left out")(
        "dump-config", "print the effective configuration as a file and leave");
  }
  builtin.add_options()("help,h", "print this text and leave");
  return builtin;
}

}  // namespace

Option& Option::choices(std::vector<std::string> allowed) {
  choices_ = std::move(allowed);
  return *this;
}
Option& Option::at_least(double least) {
  low_ = least;
  return *this;
}
Option& Option::above(double bound) {
  low_ = bound;
  low_open_ = true;
  return *this;
}
Option& Option::below(double bound) {
  high_ = bound;
  high_open_ = true;
  return *this;
}
Option& Option::at_most(double most) {
  high_ = most;
  return *this;
}
Option& Option::not_empty() {
  not_empty_ = true;
  return *this;
}
Option& Option::required() {
  required_ = true;
  return *this;
}
Option& Option::positional() {
  positional_ = true;
  return *this;
}

bool Option::is_list() const noexcept {
  return std::holds_alternative<std::vector<std::string>*>(target_);
}

bool Option::holds(double value) const noexcept {
  return (low_open_ ? value > low_ : value >= low_) &&
         (high_open_ ? value < high_ : value <= high_);
}

std::string Option::value_text() const {
  return std::visit(Overloaded{[](const std::string* v) { return quote_config_value(*v); },
                               [](const bool* v) { return std::string(bool_text(*v)); },
                               [](const std::vector<std::string>*) { return std::string(); },
                               [](const auto* v) { return fmt::format("{}", *v); }},
                    target_);
}

std::string Option::default_text() const {
  return std::visit(Overloaded{[](const std::string* v) { return v->empty() ? "none" : *v; },
                               [](const std::vector<std::string>* v) {
                                 return v->empty() ? "none"
                                                   : fmt::format("{}", fmt::join(*v, "; "));
                               },
                               [this](const auto*) { return value_text(); }},
                    target_);
}

std::string Option::range_text() const {
  std::string range;
  if (std::isfinite(low_)) range += fmt::format("{} {}", low_open_ ? ">" : ">=", low_);
  if (std::isfinite(low_) && std::isfinite(high_)) range += " and ";
  if (std::isfinite(high_)) range += fmt::format("{} {}", high_open_ ? "<" : "<=", high_);
  return range;
}

std::string Option::limits_text() const {
  return choices_.empty() ? range_text() : fmt::format("{}", fmt::join(choices_, " | "));
}

std::string Option::constraint_text() const {
  if (!choices_.empty()) return fmt::format("one of {}", fmt::join(choices_, ", "));
  if (not_empty_) return "a text that is not empty";
  std::string kind = std::visit(
      Overloaded{[](const std::int64_t*) { return "an integer"; },
                 [](const double*) { return "a number"; },
                 [](const bool*) { return "true or false"; }, [](const auto*) { return "a text"; }},
      target_);
  const std::string range = range_text();
  return range.empty() ? kind : kind + " " + range;
}

std::string Option::placeholder() const {
  if (!unit_.empty()) return fmt::format("<{}>", unit_);
  return std::visit(
      Overloaded{[](const std::int64_t*) { return "<integer>"; },
                 [](const double*) { return "<number>"; },
                 [](const bool*) { return "[true|false]"; },
                 [this](const auto*) { return choices_.empty() ? "<text>" : "<name>"; }},
      target_);
}

void Option::assign(const std::string& value, const std::string& origin) {
  const auto refuse = [&](const std::string& hint = {}) {
    throw ConfigError(fmt::format("{}: {}: expected {}, found '{}'{}", origin, key_,
                                  constraint_text(), value, hint));
  };
  const auto number = [&](auto parse) {
    try {
      return parse(value);
    } catch (const InvalidInput&) {
      refuse();
      throw;
    }
  };
  if (!choices_.empty() && std::find(choices_.begin(), choices_.end(), value) == choices_.end())
    refuse(fmt::format("; did you mean '{}'?", nearest(value, choices_)));
  if (not_empty_ && value.empty()) refuse();
  std::visit(Overloaded{[&](std::string* v) { *v = value; },
                        [&](std::vector<std::string>* v) { v->push_back(value); },
                        [&](bool* v) {
                          if (value != "true" && value != "false") refuse();
                          *v = value == "true";
                        },
                        [&](std::int64_t* v) {
                          const std::int64_t parsed = number(parse_int);
                          if (!holds(static_cast<double>(parsed))) refuse();
                          *v = parsed;
                        },
                        [&](double* v) {
                          const double parsed = number(parse_double);
                          if (!std::isfinite(parsed) || !holds(parsed)) refuse();
                          *v = parsed;
                        }},
             target_);
  origin_ = origin;
}

OptionTable::OptionTable(std::string usage) : usage_(std::move(usage)) {}

void OptionTable::group(std::string title) { group_ = std::move(title); }

Option& OptionTable::add(std::string key, Option::Target target, std::string unit,
                         std::string help) {
  require(find(key) == nullptr && key != "help" && key != "config" && key != "dump-config",
          fmt::format("option '{}' exists", key));
  Option& option = options_.emplace_back();
  option.key_ = std::move(key);
  option.target_ = target;
  option.unit_ = std::move(unit);
  option.help_ = std::move(help);
  option.group_ = group_;
  option.default_ = option.default_text();
  return option;
}

void OptionTable::accept_config_file() { accepts_config_ = true; }

void OptionTable::add_check(std::function<void(const OptionTable&)> check) {
  checks_.push_back(std::move(check));
}

const Option* OptionTable::find(std::string_view key) const noexcept {
  const auto found = std::find_if(options_.begin(), options_.end(),
                                  [key](const Option& o) { return o.key_ == key; });
  return found == options_.end() ? nullptr : &*found;
}
Option* OptionTable::find(std::string_view key) noexcept {
  return const_cast<Option*>(std::as_const(*this).find(key));
}

const Option& OptionTable::at(std::string_view key) const {
  const Option* option = find(key);
  require(option != nullptr, fmt::format("there is no option '{}'", key));
  return *option;
}

void OptionTable::refuse(std::string_view key, std::string_view what) const {
  const Option& option = at(key);
  throw ConfigError(
      fmt::format("{}: {}: {}", option.origin_.empty() ? "default" : option.origin_, key, what));
}

void OptionTable::refuse_unknown(const Setting& setting) const {
  std::vector<std::string> keys;
  for (const Option& o : options_) keys.push_back(o.key_);
  if (setting.origin == kCommandLine) {
    keys.emplace_back("help");
    if (accepts_config_) keys.insert(keys.end(), {"config", "dump-config"});
  }
  throw ConfigError(fmt::format("{}: unknown key '{}'; did you mean '{}'?", setting.origin,
                                setting.key, nearest(setting.key, keys)));
}

void OptionTable::refuse_missing(const std::string& key) const {
  const Option* option = find(key);
  if (option == nullptr && key != "config")
    throw ConfigError(fmt::format("{}: {}: expected no value, found one", kCommandLine, key));
  throw ConfigError(fmt::format("{}: {}: expected {}, found no value", kCommandLine, key,
                                option != nullptr ? option->constraint_text() : "a path"));
}

CliAction OptionTable::parse(std::span<const std::string> args) {
  for (const std::string& arg : args)
    if (arg == "--help" || arg == "-h") return CliAction::kHelp;
  std::vector<Setting> flags = parse_arguments(args);
  place_words(flags);
  const auto extract = [&flags](std::string_view key) {
    std::vector<Setting> taken;
    std::erase_if(flags, [&](const Setting& s) {
      if (s.key != key) return false;
      taken.push_back(s);
      return true;
    });
    return taken;
  };
  const auto files = extract("config");
  const bool dump_wanted = !extract("dump-config").empty();
  if (files.size() > 1)
    throw ConfigError(fmt::format("{}: expected one configuration file, found '{}' and '{}'",
                                  kCommandLine, files[0].value, files[1].value));
  if (!files.empty()) apply(read_config_file(files[0].value), true);
  apply(flags, false);
  if (!dump_wanted) check_required();
  run_checks();
  return dump_wanted ? CliAction::kDumpConfig : CliAction::kRun;
}

void OptionTable::read_text(std::string_view text, std::string_view name) {
  apply(parse_config_text(text, name), true);
  run_checks();
}

// Boost takes any next word as the value of a flag that expects one. A boolean flag takes it only
// if it is true or false.
std::vector<std::string> OptionTable::with_explicit_booleans(
    std::span<const std::string> args) const {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const Option* option = args[i].starts_with("--") ? find(args[i].substr(2)) : nullptr;
    if (option == nullptr || !std::holds_alternative<bool*>(option->target_)) {
      words.push_back(args[i]);
      continue;
    }
    const bool has_value = i + 1 < args.size() && (args[i + 1] == "true" || args[i + 1] == "false");
    words.push_back(args[i] + "=" + (has_value ? args[i + 1] : "true"));
    if (has_value) ++i;
  }
  return words;
}

std::vector<Setting> OptionTable::parse_arguments(std::span<const std::string> args) const {
  using namespace po::command_line_style;
  po::options_description known = builtin_options(accepts_config_);
  for (const Option& o : options_)
    known.add_options()(o.key_.c_str(), po::value<std::string>(), "");
  std::vector<Setting> settings;
  try {
    const auto parsed = po::command_line_parser(with_explicit_booleans(args))
                            .options(known)
                            .style(allow_long | long_allow_adjacent | long_allow_next)
                            .run();
    for (const auto& option : parsed.options) {
      const auto& tokens = option.original_tokens;
      if (tokens.size() == 2 && tokens[1].starts_with("--") && option.position_key < 0)
        refuse_missing(option.string_key);
      settings.push_back({option.position_key >= 0 ? kWord : option.string_key,
                          option.value.empty() ? "" : option.value.front(), kCommandLine});
    }
  } catch (const po::unknown_option& e) {
    refuse_unknown({bare_key(e.get_option_name()), "", kCommandLine});
  } catch (const po::error_with_option_name& e) {
    refuse_missing(bare_key(e.get_option_name()));
  } catch (const po::error& e) {
    throw ConfigError(fmt::format("{}: {}", kCommandLine, e.what()));
  }
  return settings;
}

void OptionTable::place_words(std::vector<Setting>& settings) const {
  std::vector<std::pair<std::string, bool>> places;  // key, takes many
  if (accepts_config_) places.emplace_back("config", false);
  for (const Option& o : options_)
    if (o.positional_) places.emplace_back(o.key_, o.is_list());
  std::size_t next = 0;
  for (Setting& s : settings) {
    if (s.key != kWord) continue;
    if (next == places.size() || (s.value.size() > 1 && s.value.front() == '-'))
      throw ConfigError(
          fmt::format("{}: expected a flag '--key value', found '{}'", kCommandLine, s.value));
    s.key = places[next].first;
    if (!places[next].second) ++next;
  }
}

void OptionTable::apply(const std::vector<Setting>& settings, bool from_file) {
  std::map<std::string, std::string> first_origin;
  for (const Setting& s : settings) {
    Option* option = find(s.key);
    if (option == nullptr) refuse_unknown(s);
    const auto [entry, is_first] = first_origin.emplace(s.key, s.origin);
    if (option->is_list() && is_first)
      std::get<std::vector<std::string>*>(option->target_)->clear();
    if (!is_first && from_file && !option->is_list())
      throw ConfigError(fmt::format("{}: {}: expected a key once per file, it stands at {} already",
                                    s.origin, s.key, entry->second));
    option->assign(s.value, s.origin);
  }
}

void OptionTable::check_required() const {
  for (const Option& o : options_) {
    if (!o.required_ || (!o.origin_.empty() && o.value_text() != "\"\"")) continue;
    throw ConfigError(fmt::format("{}: expected '{}{} {}' ({}), found nothing", kCommandLine,
                                  o.positional_ ? "" : "--", o.key_, o.placeholder(), o.help_));
  }
}

void OptionTable::run_checks() const {
  for (const auto& check : checks_) check(*this);
}

std::string OptionTable::help() const {
  po::options_description all(kColumns, kColumns / 2);
  std::vector<std::pair<std::string, po::options_description>> groups;
  for (const Option& o : options_) {
    if (groups.empty() || groups.back().first != o.group_)
      groups.emplace_back(o.group_, po::options_description(o.group_, kColumns, kColumns / 2));
    std::string limits = o.limits_text();
    if (!limits.empty()) limits += "; ";
    const std::string text = fmt::format("{} [{}{}]", o.help_, limits,
                                         o.required_ ? "required" : "default " + o.default_);
    groups.back().second.add_options()(
        o.key_.c_str(), po::value<std::string>()->value_name(o.placeholder()), text.c_str());
  }
  for (const auto& [title, description] : groups) all.add(description);
  all.add(builtin_options(accepts_config_));
  std::ostringstream printed;
  printed << all;
  std::string out = fmt::format("Usage: {}\n\n", usage_);
  const std::string text = printed.str();  // Boost leaves blanks where it breaks a line
  for (const std::string_view line : split(trim(text), '\n'))
    out.append(line.substr(0, line.find_last_not_of(' ') + 1)).append("\n");
  return out;
}

std::string OptionTable::dump() const {
  std::string out;
  std::string_view group;
  for (const Option& o : options_) {
    if (o.group_ != group) out += fmt::format("{}# {}\n", out.empty() ? "" : "\n", o.group_);
    group = o.group_;
    if (o.is_list()) {
      for (const std::string& entry : *std::get<std::vector<std::string>*>(o.target_))
        out += fmt::format("{} = {}\n", o.key_, quote_config_value(entry));
    } else {
      out += fmt::format("{} = {}\n", o.key_, o.value_text());
    }
  }
  return out;
}

std::string OptionTable::markdown() const {
  std::string out;
  std::string_view group;
  for (const Option& o : options_) {
    if (o.group_ != group)
      out += fmt::format("{}### {}\n\n| key | unit | default | meaning |\n|---|---|---|---|\n",
                         out.empty() ? "" : "\n", o.group_);
    group = o.group_;
    std::string meaning = o.help_;
    const std::string limits = o.limits_text();
    if (!limits.empty()) meaning += fmt::format(" ({})", limits);
    out += fmt::format("| `{}` | {} | {} | {} |\n", o.key_, markdown_cell(o.unit_),
                       o.required_ ? "required" : "`" + o.default_ + "`", markdown_cell(meaning));
  }
  return out;
}

}  // namespace phalanx
