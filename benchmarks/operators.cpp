// SPDX-License-Identifier: Apache-2.0
// Times the kernels of every operator at the sizes its cases name, or on a GPU at sizes that its caches do not hold:
//   bench_operators [--device cpu|cuda] [--only PREFIX] [--rounds N] [--size-mib MIB] [--json FILE]
//
// A time is the median over rounds after a warm-up, with the caches emptied in between. GB/s counts the bytes that must move,
// GFLOP/s the operations of the operator's formula; both also stand as a share of what a copy and a matrix product reach in the
// same run, so that tables of two machines, or of a busy and an idle one, can be compared.
#include <fmt/format.h>

#include <cmath>
#include <exception>
#include <string>

#include "bench/report.hpp"
#include "core/error.hpp"
#include "core/text.hpp"
#include "device/backend.hpp"

namespace phalanx {
namespace {

struct Options {
  OperatorBenchOptions bench;
  std::string device = "cpu";
  double size_mib = 0;
  std::string json;
};

Options parse(int argc, char** argv) {
  Options options;
  require<ConfigError>(argc % 2 == 1, "every option takes a value");
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--only")
      options.bench.only = value;
    else if (flag == "--json")
      options.json = value;
    else if (flag == "--device")
      options.device = value;
    else if (flag == "--rounds")
      options.bench.rounds = parse_int(value);
    else if (flag == "--size-mib")
      options.size_mib = parse_double(value);
    else
      throw ConfigError(fmt::format(
          "expected --device, --only, --rounds, --size-mib or --json, found '{}'", flag));
  }
  require<ConfigError>(options.bench.rounds > 0, "--rounds must be positive");
  require<ConfigError>(options.device == "cpu" || options.device == "cuda",
                       fmt::format("--device: expected cpu or cuda, found '{}'", options.device));
  if (options.device == "cuda") {
    if (options.size_mib == 0) options.size_mib = OperatorBenchOptions::kGpuMib;
    options.bench.product_size = OperatorBenchOptions::kGpuProductSize;
  }
  options.bench.least_bytes =
      static_cast<std::size_t>(std::ceil(options.size_mib * (std::size_t{1} << 20)));
  return options;
}

void run(const Options& options) {
  CudaBackendResult cuda;
  Device device;
  if (options.device == "cuda") {
    cuda = open_cuda_backend();
    require<Unsupported>(cuda.backend != nullptr, "device = cuda: " + cuda.why_none);
    device = {DeviceKind::kCuda, 0, &cuda.backend->get()};
  }
  Stream stream(device);
  BenchReport report(stream, options.bench.rounds);
  run_operator_bench(options.bench, stream, report);
  if (!options.json.empty()) report.write_json(options.json);
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  try {
    phalanx::run(phalanx::parse(argc, argv));
    return 0;
  } catch (const phalanx::ConfigError& e) {
    fmt::print(stderr, "bench_operators: {}\n", e.what());
    return static_cast<int>(phalanx::ExitCode::kUsage);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_operators: {}\n", e.what());
    return static_cast<int>(phalanx::ExitCode::kFailed);
  }
}
