// SPDX-License-Identifier: Apache-2.0
#include <fmt/ranges.h>

#include <exception>
#include <string>
#include <vector>

#include "cli/session.hpp"
#include "core/log.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

struct Command {
  std::string_view name;
  ExitCode (*run)(MpiRuntime& mpi, Arguments arguments);
  std::string_view help;
};

constexpr Command kCommands[] = {
    {"data import", data_import_command,
     "make a data set (HDF5) from idx, CIFAR-10, image or CSV files"},
    {"data info", data_info_command, "what is in a data set"},
    {"data sample", data_sample_command, "one row of a data set as a PNG file, or as a request"},
    {"train", train_command, "train a network on all ranks; resumes by itself"},
    {"evaluate", evaluate_command, "loss and accuracy of a checkpoint on a data set, on all ranks"},
    {"predict", predict_command, "predict a whole data set on all ranks, into one file"},
    {"publish", publish_command, "put a checkpoint into a folder of models, as a version to serve"},
    {"inspect", inspect_command,
     "what is in a checkpoint or a configured model: layers, memory plan, flops"},
    {"devices", devices_command, "what each rank computes on: cores, GPUs, and why there are none"},
    {"bench allreduce", bench_all_reduce_command,
     "time the sums over ranks against MPI_Allreduce and against a copy"},
    {"bench gpu", bench_gpu_command,
     "time the kernels of a GPU against a copy and against cuBLASLt, and a step of training"},
    {"key create", key_create_command,
     "make a key that clients of a server need; it is shown once"},
    {"key list", key_list_command, "the keys of a file: names, access, models, limits"},
    {"key revoke", key_revoke_command, "take a key out of a file; running servers notice"},
    {"serve-rank", serve_rank_command, "one rank of a server; started by `phalanx serve`"},
};

// It ends its part in MPI before it does anything: see serve_command.
constexpr std::string_view kServe = "serve",
                           kServeHelp = "serve the models of a folder over HTTP, on all ranks";

constexpr std::string_view kUsage =
    R"(phalanx: trains neural networks on many ranks, then predicts and serves on the same ranks.

usage: phalanx COMMAND [options]
       mpirun -n 4 phalanx train configs/fashion_cnn.cfg

commands:
)";

constexpr std::string_view kExitCodes = R"(
phalanx COMMAND --help lists the options of a command with units and defaults.

exit codes: 0 done, 1 failed, 2 usage or configuration, 3 malformed data or checkpoint, 4 cannot read or write a file,
            5 another rank was lost, 6 stopped by a signal after a checkpoint, 7 ranks hold different parameters
)";

void print_help() {
  fmt::print("{}", kUsage);
  for (const Command& c : kCommands) fmt::print("  {:<16} {}\n", c.name, c.help);
  fmt::print("  {:<16} {}\n", kServe, kServeHelp);
  fmt::print("{}", kExitCodes);
}

ExitCode run(MpiRuntime& mpi, const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" ||
      arguments[0] == "help") {
    if (mpi.rank() == 0) print_help();
    return arguments.empty() ? ExitCode::kUsage : ExitCode::kDone;
  }
  std::vector<std::string> names{std::string(kServe)};
  for (const Command& c : kCommands) {
    const auto words = split_words(c.name);  // "data import" is two words of the command line
    bool matches = arguments.size() >= words.size();
    for (std::size_t i = 0; matches && i < words.size(); ++i) matches = arguments[i] == words[i];
    if (matches) return c.run(mpi, Arguments(arguments).subspan(words.size()));
    names.emplace_back(c.name);
  }
  std::vector<std::string> longer;  // commands of two words, of which the first was given
  for (const std::string& name : names)
    if (name.starts_with(arguments[0] + " ")) longer.push_back(name);
  if (!longer.empty())
    throw ConfigError(fmt::format("command line: '{}' is not a whole command: expected {}",
                                  arguments[0], fmt::join(longer, " or ")));
  throw ConfigError(fmt::format("command line: there is no command '{}'; the nearest is '{}'",
                                arguments[0], nearest(arguments[0], names)));
}

/// The one place that maps exceptions to exit codes.
ExitCode exit_code_of(const std::exception& e) {
  if (dynamic_cast<const ConfigError*>(&e) != nullptr) return ExitCode::kUsage;
  if (dynamic_cast<const InvalidInput*>(&e) != nullptr) return ExitCode::kData;
  if (dynamic_cast<const IoError*>(&e) != nullptr) return ExitCode::kIo;
  if (dynamic_cast<const CommError*>(&e) != nullptr) return ExitCode::kPeerLost;
  if (dynamic_cast<const DivergenceError*>(&e) != nullptr) return ExitCode::kDiverged;
  return ExitCode::kFailed;
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  using namespace phalanx;
  configure_log(LogLevel::kInfo, 0, 1);  // until the rank is known
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == kServe) {
    try {
      return static_cast<int>(serve_command(argc, argv, Arguments(arguments).subspan(1)));
    } catch (const std::exception& e) {
      log_error("{}", e.what());
      return static_cast<int>(exit_code_of(e));
    }
  }
  MpiRuntime mpi(argc, argv);
  configure_log(LogLevel::kInfo, mpi.rank(), mpi.size());
  try {
    return static_cast<int>(run(mpi, arguments));
  } catch (const std::exception& e) {
    const ExitCode code = exit_code_of(e);
    // Every rank parses the same arguments and files, so most errors come from all of them: one line is enough, and
    // rank 0 writes it. Errors of one rank only must take the others down.
    const bool is_from_all = code == ExitCode::kUsage || code == ExitCode::kData ||
                             code == ExitCode::kDiverged ||
                             dynamic_cast<const LossError*>(&e) != nullptr;
    if (mpi.rank() == 0 || !is_from_all) log_error("{}", e.what());
    if (mpi.size() > 1) mpi.abort(static_cast<int>(code));
    return static_cast<int>(code);
  }
}
