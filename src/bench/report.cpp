// SPDX-License-Identifier: Apache-2.0
#include "bench/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

constexpr double kCopyAim = 0.9;     // of kernels that memory bounds
constexpr double kProductAim = 0.7;  // of our own product in bf16, of the library's
constexpr double kStepAim = 1.3;     // of a step, of the sum of the floors of its kernels

bool is_bound_by_memory(const KernelTime& t, const MachineRates& rates) {
  return rates.floor_seconds(t.bytes, t.flops, t.type) <= t.bytes / rates.copy;
}

/// How many times as long as the library's kernel ours takes.
std::optional<double> own_to_library(const KernelTime& t) {
  if (t.by != "own" || t.library_seconds <= 0) return std::nullopt;
  return t.seconds / t.library_seconds;
}

}  // namespace

BenchReport::BenchReport(const Stream& stream, std::int64_t rounds)
    : on_gpu_(stream.device().backend != nullptr), device_("CPU"), rounds_(rounds) {
  if (!on_gpu_) return;
  const GpuInfo gpu = stream.device().backend->info(stream.device().index);
  const BackendAbout about = stream.device().backend->about();
  is_hardware_ = about.is_hardware;
  device_ = fmt::format("{}, {}, compute capability {}.{}, {} multiprocessors", gpu.name,
                        human_bytes(gpu.memory_bytes), gpu.major, gpu.minor, gpu.multiprocessors);
  fmt::print("device    {}\nversions  {}\n", device_, about.versions);
  if (!is_hardware_)
    fmt::print(
        "This GPU is emulated: the figures show that everything runs, and say nothing else.\n");
}

void BenchReport::add(const MachineRates& rates) {
  rates_ = rates;
  fmt::print("copy      {:.1f} GB/s read and written together\nproducts ", rates.copy * 1e-9);
  for (const auto& [type, rate] : rates.product)
    fmt::print(" {} {:.1f} GFLOP/s{}", type, rate * 1e-9,
               type == rates.product.rbegin()->first ? "\n" : ",");
  fmt::print("Medians of {} rounds, each with a copy of as many bytes beside the kernel.\n\n",
             rounds_);
  fmt::print("{:<26} {:<34} {:<5} {:<7} {:<8} {:>11} {:>8} {:>6} {:>9} {:>6}{}\n", "operator",
             "case", "type", "by", "", "us", "GB/s", "copy", on_gpu_ ? "TFLOP/s" : "GFLOP/s",
             "gemm", on_gpu_ ? "  own/library" : "");
  for (const KernelTime& t : times_) print(t);
}

void BenchReport::add(const KernelTime& time) {
  times_.push_back(time);
  if (rates_) print(time);
}

void BenchReport::print(const KernelTime& t) const {
  const std::string head =
      fmt::format("{:<26} {:<34} {:<5} {:<7} {:<8}", t.op, t.name, t.type, t.by, t.direction);
  if (!t.skipped.empty()) {
    fmt::print("{} skipped: {}\n", head, t.skipped);
    return;
  }
  std::string compute, ratio;
  if (t.by == "own")
    ratio = own_to_library(t) ? fmt::format("{:13.2f}", *own_to_library(t)) : "            -";
  if (!ratio.empty() && t.flops == 0) ratio.insert(0, 17, ' ');
  const auto product = rates_->product.find(t.type);
  if (t.flops > 0 && product != rates_->product.end())
    compute = fmt::format(" {:9.2f} {:4.0f} %", t.flops / t.seconds * (on_gpu_ ? 1e-12 : 1e-9),
                          100 * t.flops / t.seconds / product->second);
  fmt::print("{} {:>11.1f} {:>8.1f} {:>4.0f} %{}{}\n", head, t.seconds * 1e6,
             t.bytes / t.seconds * 1e-9, 100 * t.copy_seconds / t.seconds, compute, ratio);
  std::fflush(stdout);
}

void BenchReport::print_aims() const {
  if (!on_gpu_ || !is_hardware_ || !rates_) return;
  std::size_t bound = 0, reached = 0;
  for (const KernelTime& t : times_) {
    const bool is_ours = t.skipped.empty() && (t.by.empty() || t.by == "own");
    if (!is_ours || !is_bound_by_memory(t, *rates_)) continue;
    ++bound;
    if (t.copy_seconds >= kCopyAim * t.seconds) ++reached;
  }
  fmt::print("\n{} of {} kernels of ours that memory bounds reach {:.0f} % of a copy's speed\n",
             reached, bound, 100 * kCopyAim);
  const auto own = std::ranges::find_if(
      times_, [](const KernelTime& t) { return t.by == "own" && t.type == "bf16"; });
  const auto product = rates_->product.find("bf16");
  if (own != times_.end() && product != rates_->product.end())
    fmt::print("our own product in bf16, {}: {:.0f} % of the library's speed (aim {:.0f} %)\n",
               own->name, 100 * own->flops / own->seconds / product->second, 100 * kProductAim);
}

void BenchReport::add(const StepTime& step) {
  step_ = step;
  fmt::print("\n{:<28} {:<26} {:<8} {:>11} {:>11} {:>6}\n", "node of a step", "operator", "", "us",
             "floor, us", "share");
  for (const NodeTime& n : step.nodes)
    fmt::print("{:<28} {:<26} {:<8} {:>11.1f} {:>11.1f} {:>4.0f} %\n", n.name, n.op,
               n.is_backward ? "backward" : "forward", n.seconds * 1e6, n.floor_seconds * 1e6,
               100 * n.floor_seconds / std::max(n.seconds, 1e-12));
  double nodes = 0;
  for (const NodeTime& n : step.nodes) nodes += n.seconds;
  fmt::print(
      "\n{}: a step takes {:.3f} ms, {:.2f} times the {:.3f} ms of its kernels' floors (aim "
      "{:.1f}); its nodes alone {:.3f} ms\n",
      step.what, 1e3 * step.seconds, step.seconds / step.floor_seconds, 1e3 * step.floor_seconds,
      kStepAim, 1e3 * nodes);
}

void BenchReport::write_json(const std::string& path) const {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const KernelTime& t : times_) {
    if (!t.skipped.empty()) continue;
    rows.push_back({{"op", t.op},
                    {"case", t.name},
                    {"type", t.type},
                    {"by", t.by},
                    {"direction", t.direction},
                    {"seconds", t.seconds},
                    {"copy_seconds", t.copy_seconds},
                    {"bytes", t.bytes},
                    {"flops", t.flops}});
    if (t.by != "own") continue;
    rows.back()["own_to_library"] = nullptr;
    if (const auto ratio = own_to_library(t)) rows.back()["own_to_library"] = *ratio;
  }
  nlohmann::ordered_json out = {
      {"device", device_}, {"is_hardware", is_hardware_}, {"rounds", rounds_}};
  if (rates_) {
    out["copy_bytes_per_second"] = rates_->copy;
    for (const auto& [type, rate] : rates_->product)
      out[fmt::format("gemm_{}_flops_per_second", type)] = rate;
  }
  out["measurements"] = rows;
  if (step_) {
    nlohmann::ordered_json nodes = nlohmann::ordered_json::array();
    for (const NodeTime& n : step_->nodes)
      nodes.push_back({{"node", n.name},
                       {"op", n.op},
                       {"direction", n.is_backward ? "backward" : "forward"},
                       {"seconds", n.seconds},
                       {"floor_seconds", n.floor_seconds}});
    out["step"] = {{"what", step_->what},
                   {"seconds", step_->seconds},
                   {"floor_seconds", step_->floor_seconds},
                   {"nodes", nodes}};
  }
  std::ofstream file(path);
  file << out.dump(2) << '\n';
  require<IoError>(file.good(), fmt::format("cannot write '{}'", path));
}

MachineRates run_operator_bench(const OperatorBenchOptions& options, Stream& stream,
                                BenchReport& report) {
  OperatorBench bench(options, stream);
  const auto on_time = [&](const KernelTime& t) { report.add(t); };
  const MachineRates rates = bench.measure_rates(on_time);
  report.add(rates);
  bench.measure_kernels(on_time);
  report.print_aims();
  return rates;
}

}  // namespace phalanx
