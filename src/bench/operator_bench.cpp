// SPDX-License-Identifier: Apache-2.0
#include "bench/operator_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "core/error.hpp"

namespace phalanx {
namespace {

constexpr std::size_t kMib = std::size_t{1} << 20;

/// Several times what caches hold. Small sizes, with which nothing is measured but seen to work, get little.
std::size_t flush_bytes(const OperatorBenchOptions& options, const Stream& stream) {
  if (stream.device().backend == nullptr) return 96 * kMib;
  return options.least_bytes == 0 ? 256 * kMib : std::min(256 * kMib, 4 * options.least_bytes);
}

/// The backend's options while it lives: kernels are chosen when they are prepared.
class OptionsFor {
 public:
  OptionsFor(const Stream& stream, KernelChoice choice, bool tf32)
      : backend_(stream.device().backend) {
    if (backend_ == nullptr) return;
    before_ = backend_->options;
    backend_->options = {.gemm = choice, .conv = choice, .tf32 = tf32};
  }
  OptionsFor(const OptionsFor&) = delete;
  OptionsFor& operator=(const OptionsFor&) = delete;
  ~OptionsFor() {
    if (backend_ != nullptr) backend_->options = before_;
  }

 private:
  DeviceBackend* backend_;
  BackendOptions before_;
};

/// A product of square matrices.
OpCases::Case product_case(const std::string& name) {
  return {.name = name, .inputs = [](std::int64_t n) {
            const TensorType type(DType::kF32, Shape{n, n});
            return std::vector{type, type};
          }};
}

const OpCases& cases_of(std::string_view op) {
  const auto all = all_cases();
  return **std::ranges::find_if(all, [&](const OpCases* c) { return c->op->name == op; });
}

}  // namespace

double MachineRates::floor_seconds(double bytes, double flops, const std::string& type) const {
  const auto found = product.find(type);
  const double of_flops = found == product.end() || flops == 0 ? 0 : flops / found->second;
  return std::max(bytes / copy, of_flops);
}

OperatorBench::OperatorBench(const OperatorBenchOptions& options, Stream& stream)
    : options_(options),
      stream_(stream),
      stopwatch_(stream, flush_bytes(options, stream)),
      copy_(stream) {}

MachineRates OperatorBench::measure_rates(const OnTime& on_time) {
  MachineRates rates;
  const double copied = options_.least_bytes == 0 ? 32.0 * kMib : 2.0 * options_.least_bytes;
  const Stopwatch::Work copy = copy_.of(copied);
  const int rounds = static_cast<int>(options_.rounds);
  rates.copy = copied / stopwatch_.medians(std::span(&copy, 1), rounds).front();
  const std::string name = fmt::format("{0} x {0} x {0}", options_.product_size);
  const OpCases::Case product = product_case(name);
  const OpCases& gemm = cases_of("gemm");
  for (const std::string& type : types_of(gemm))
    measure_case(gemm, product, type, options_.product_size, false, [&](const KernelTime& t) {
      if (t.skipped.empty()) rates.product[type] = t.flops / t.seconds;  // the library's is last
      on_time(t);
    });
  return rates;
}

void OperatorBench::measure_kernels(const OnTime& on_time) {
  for (const OpCases* cases : all_cases()) {
    if (!cases->op->name.starts_with(options_.only)) continue;
    if (on_gpu() && stream_.device().backend->kernels(cases->op->name) == nullptr) continue;
    for (const OpCases::Case& c : cases->cases) {
      if (c.benchmark_n == 0) continue;
      for (const std::string& type : types_of(*cases)) {
        const DType dtype = type == "bf16" ? DType::kBf16 : DType::kF32;
        measure_case(*cases, c, type, size_of_case(*cases, c, dtype, options_.least_bytes), true,
                     on_time);
      }
    }
  }
}

std::vector<OperatorBench::Way> OperatorBench::ways_of(const OpSpec& op) const {
  const bool is_product = op.name == "gemm" || op.name == "matmul";
  if (!on_gpu() || (!is_product && op.name != "conv")) return {Way{}};
  std::vector<Way> ways{{KernelChoice::kOwn, "own"}};
  if (stream_.device().backend->about().has_vendor)
    ways.push_back({KernelChoice::kVendor, is_product ? "cublas" : "cudnn"});
  return ways;
}

std::vector<std::string> OperatorBench::types_of(const OpCases& cases) const {
  std::vector<std::string> types{"f32"};
  if (!ways_of(*cases.op).front().by.empty()) types.emplace_back("tf32");
  if (cases.low_precision != 0) types.emplace_back("bf16");
  return types;
}

void OperatorBench::measure_case(const OpCases& cases, const OpCases::Case& c,
                                 const std::string& type, std::int64_t n, bool with_backward,
                                 const OnTime& on_time) {
  KernelTime known{.op = std::string(cases.op->name), .name = std::string(c.name), .type = type};
  try {
    CaseOperands operands(cases, c, type == "bf16" ? DType::kBf16 : DType::kF32, n, stream_);
    known.direction = "forward";
    measure_direction(cases, operands, false, known, on_time);
    if (!with_backward || kernels_for(*cases.op, stream_.device()).backward == nullptr) return;
    known.direction = "backward";
    measure_direction(cases, operands, true, known, on_time);
  } catch (const Unsupported& e) {
    known.skipped = e.what();
  } catch (const OutOfMemory& e) {
    known.skipped = e.what();
  }
  if (!known.skipped.empty()) on_time(known);
}

/// Where the library has no kernel, ours run in its place.
bool OperatorBench::uses_library(KernelBench& kernel) {
  auto& queue = *static_cast<BackendStream*>(stream_.handle());
  queue.forget_launches();
  kernel.run();
  stream_.synchronize();
  const std::string launches = queue.last_launches();
  return launches.find("by cuBLASLt") != std::string::npos ||
         launches.find("by cuDNN") != std::string::npos;
}

void OperatorBench::measure_direction(const OpCases& cases, CaseOperands& operands, bool backward,
                                      KernelTime known, const OnTime& on_time) {
  std::vector<Way> ways = ways_of(*cases.op);
  std::vector<KernelBench> kernels;
  kernels.reserve(ways.size());
  std::vector<Stopwatch::Work> works;
  std::erase_if(ways, [&](const Way& way) {
    const OptionsFor options(stream_, way.choice, known.type == "tf32");
    kernels.push_back(backward ? operands.backward() : operands.forward());
    if (way.choice == KernelChoice::kVendor && !uses_library(kernels.back())) {
      kernels.pop_back();
      return true;
    }
    works.emplace_back([&kernel = kernels.back()] { kernel.run(); });
    return false;
  });
  known.bytes = kernels.front().bytes();
  known.flops = backward ? operands.backward_flops() : operands.forward_flops();
  works.push_back(copy_.of(known.bytes));
  const std::vector<double> seconds = stopwatch_.medians(works, static_cast<int>(options_.rounds));
  known.copy_seconds = seconds.back();
  for (std::size_t w = 0; w < ways.size(); ++w) {
    known.by = ways[w].by;
    known.seconds = seconds[w];
    known.library_seconds = w == 0 && ways.size() > 1 ? seconds[1] : 0;
    on_time(known);
  }
  stream_.synchronize();
}

}  // namespace phalanx
