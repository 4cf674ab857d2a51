// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "comm/communicator.hpp"
#include "comm/mpi_runtime.hpp"
#include "comm/rank_layout.hpp"
#include "core/error.hpp"
#include "device/backend.hpp"
#include "train/config.hpp"

namespace phalanx {

/// Where and how a subcommand computes.
struct SessionOptions {
  std::string device = "auto";      ///< auto | cpu | cuda
  std::string gemm = "auto";        ///< auto | own | cublas
  std::string conv = "auto";        ///< auto | own | cudnn
  std::string progress = "inline";  ///< auto | thread | inline
  double deadline_seconds = 300;
  std::int64_t threads = 1;
  bool reproducible = false;  ///< the same bits on any number of ranks
  /// Ranks repeat each other's computation and must come to the same bits, so that none may measure which kernel is fastest.
  bool same_kernels = false;
};

/// What every subcommand that computes stands on: this rank's place, its group, its device.
struct Session {
  /// Collective.
  /// Throws    Unsupported for device = cuda where a rank has no GPU.
  Session(MpiRuntime& mpi, const SessionOptions& options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  /// What follows is the end of the process, which has the same deadline as a collective.
  ~Session();

  MpiRuntime& mpi;
  double deadline_seconds;
  RankLayout layout;
  Progress progress;                       ///< as chosen
  std::unique_ptr<LoadedBackend> backend;  ///< null on the CPU
  std::string computes_on;                 ///< one line about the device, for people
  std::unique_ptr<Communicator> comm;      ///< for memory of the stream's device
  Stream stream;

  bool is_first() const noexcept { return layout.rank == 0; }
};

/// Arguments behind the program's and the subcommand's names.
using Arguments = std::span<const std::string>;

/// The subcommands. Each throws what it meets; main turns exceptions into exit codes.
ExitCode train_command(MpiRuntime& mpi, Arguments arguments);
ExitCode evaluate_command(MpiRuntime& mpi, Arguments arguments);
ExitCode predict_command(MpiRuntime& mpi, Arguments arguments);
ExitCode inspect_command(MpiRuntime& mpi, Arguments arguments);
ExitCode bench_all_reduce_command(MpiRuntime& mpi, Arguments arguments);
ExitCode bench_gpu_command(MpiRuntime& mpi, Arguments arguments);
ExitCode devices_command(MpiRuntime& mpi, Arguments arguments);
ExitCode data_import_command(MpiRuntime& mpi, Arguments arguments);
ExitCode data_info_command(MpiRuntime& mpi, Arguments arguments);
ExitCode data_sample_command(MpiRuntime& mpi, Arguments arguments);
ExitCode publish_command(MpiRuntime& mpi, Arguments arguments);
ExitCode key_create_command(MpiRuntime& mpi, Arguments arguments);
ExitCode key_list_command(MpiRuntime& mpi, Arguments arguments);
ExitCode key_revoke_command(MpiRuntime& mpi, Arguments arguments);
ExitCode serve_rank_command(MpiRuntime& mpi, Arguments arguments);
/// Of the program that runs, for starting it again.
/// Throws    IoError
std::string own_program();
/// Starts and ends MPI by itself.
ExitCode serve_command(int& argc, char**& argv, Arguments arguments);

/// Parses the arguments of a command. False if the answer was --help or --dump-config, which is then printed by rank 0.
bool parse_or_print(class OptionTable& table, const MpiRuntime& mpi, Arguments arguments);
/// "  name             value", on stdout.
void print_line(std::string_view name, std::string_view value);

}  // namespace phalanx
