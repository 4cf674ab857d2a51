// SPDX-License-Identifier: Apache-2.0
// Times the kernels of every operator at the sizes its cases name:
//   operators [--only PREFIX] [--rounds N] [--json FILE]
//
// A time is the median over rounds after a warm-up, with the caches flushed in between. GB/s counts
// the bytes that must move, GFLOP/s the operations of the operator's formula; both also stand as a
// share of what a copy and a matrix product reach in the same run, so that tables of two machines,
// or of a busy and an idle one, can be compared.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/cases.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

struct Options {
  std::string only;  // operators whose names begin so
  std::string json;
  int rounds = 31;
};

struct Measurement {
  std::string op, name, type, direction;
  double seconds = 0;
  double bytes = 0;
  double flops = 0;
};

/// Enough to push everything else out of the last cache.
class CacheFlusher {
 public:
  // By reading: lines that were written would have to be written back while something else is
  // timed.
  void flush() {
    for (std::size_t i = 0; i < bytes_.size(); i += 64)
      sum_ = static_cast<unsigned char>(sum_ + bytes_[i]);
  }

 private:
  std::vector<unsigned char> bytes_ = std::vector<unsigned char>(std::size_t{96} << 20, 1);
  volatile unsigned char sum_ = 0;
};

template <class F>
double median_seconds(int rounds, CacheFlusher& flusher, F run) {
  for (int i = 0; i < 3; ++i) run();
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    flusher.flush();
    const auto begun = std::chrono::steady_clock::now();
    run();
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  }
  std::ranges::nth_element(seconds, seconds.begin() + rounds / 2);
  return seconds[static_cast<std::size_t>(rounds / 2)];
}

/// One kernel with all its operands in memory, ready to run again and again.
class Bench {
 public:
  Bench(const OpSpec& op, const Attributes& attributes, bool backward, Stream& stream)
      : op_(op), attributes_(attributes), backward_(backward), stream_(stream) {}

  void add_input(ConstTensorView view) { in_.push_back(view); }
  void add_output(TensorView view) { out_.push_back(view); }

  void prepare() {
    const Prepare make = backward_ ? op_.cpu.prepare_backward : op_.cpu.prepare_forward;
    if (make != nullptr) {
      std::vector<TensorType> in, out;
      const auto present = std::make_unique<bool[]>(in_.size() + out_.size());
      for (const ConstTensorView& v : in_)
        present[in.size()] = v.data != nullptr, in.push_back(v.type);
      for (const TensorView& v : out_)
        present[in.size() + out.size()] = v.data != nullptr, out.push_back(v.type);
      state_ = make({attributes_,
                     in,
                     out,
                     {present.get(), in.size()},
                     {present.get() + in.size(), out.size()},
                     stream_.device()});
    }
    workspace_ = Buffer(state_ ? state_->workspace_bytes() : 0, stream_);
  }

  void run() {
    OpContext ctx{
        stream_, attributes_, {workspace_.data(), workspace_.size_bytes()}, state_.get(), {}};
    (backward_ ? op_.cpu.backward : op_.cpu.forward)(ctx, in_, out_);
  }

  double bytes() const {
    double sum = 0;
    for (const ConstTensorView& v : in_) sum += v ? static_cast<double>(v.type.size_bytes()) : 0.0;
    for (const TensorView& v : out_) sum += v ? static_cast<double>(v.type.size_bytes()) : 0.0;
    return sum;
  }

 private:
  const OpSpec& op_;
  const Attributes& attributes_;
  bool backward_;
  Stream& stream_;
  std::vector<ConstTensorView> in_;
  std::vector<TensorView> out_;
  std::unique_ptr<OpState> state_;
  Buffer workspace_;
};

/// One case in one floating type, in the memory format that a plan would choose.
class CaseBench {
 public:
  CaseBench(const OpCases& cases, const OpCases::Case& c, DType dtype, Stream& stream)
      : cases_(cases), case_(c), dtype_(dtype), stream_(stream) {
    in_ = c.inputs(c.benchmark_n);
    for (std::size_t i = 0; i < in_.size(); ++i) {
      if (is_absent(i)) in_[i] = TensorType();
      if (!is_absent(i) && is_float(in_[i].dtype) && (cases.low_precision >> i & 1u) != 0)
        in_[i].dtype = dtype;
    }
    plain_ = in_;
    out_ = cases.op->infer(c.attributes, in_);
    choose_formats();
    for (std::size_t i = 0; i < in_.size(); ++i) {
      memory_.push_back(Tensor(in_[i], stream));
      fill(memory_.back().view(), i < c.fill.size() ? c.fill[i] : Fill::kNormal);
    }
    for (const TensorType& type : out_) memory_.push_back(Tensor(type, stream));
  }

  Measurement forward(int rounds, CacheFlusher& flusher) {
    Bench bench(*cases_.op, case_.attributes, false, stream_);
    for (std::size_t i = 0; i < in_.size(); ++i)
      bench.add_input(is_absent(i) ? ConstTensorView{} : memory_[i].view());
    for (std::size_t i = 0; i < out_.size(); ++i) {
      const int updated = updated_input(i);
      bench.add_output(
          memory_[updated >= 0 ? static_cast<std::size_t>(updated) : in_.size() + i].view());
    }
    return measure(bench, "forward", 1, rounds, flusher);
  }

  /// After forward().
  Measurement backward(int rounds, CacheFlusher& flusher) {
    const OpSpec& op = *cases_.op;
    Bench bench(op, case_.attributes, true, stream_);
    std::vector<Tensor> gradients;
    const auto gradient = [&](const TensorType& type, Fill values) {
      gradients.emplace_back(type, stream_);
      fill(gradients.back().view(), values);
      return gradients.back().view();
    };
    for (std::size_t i = 0; i < in_.size(); ++i)
      bench.add_input(!is_absent(i) && (op.needs_inputs >> i & 1u) != 0 ? memory_[i].view()
                                                                        : TensorView{});
    for (std::size_t i = 0; i < out_.size(); ++i)
      bench.add_input((needed_outputs(op, case_.attributes) >> i & 1u) != 0
                          ? memory_[in_.size() + i].view()
                          : TensorView{});
    const std::size_t saved = out_.size() > static_cast<std::size_t>(op.saved_outputs)
                                  ? static_cast<std::size_t>(op.saved_outputs)
                                  : 0;
    for (std::size_t i = 0; i < out_.size(); ++i)
      bench.add_input(i + saved < out_.size() && updated_input(i) < 0
                          ? gradient(out_[i], Fill::kNormal)
                          : TensorView{});
    double times = 0;  // a gradient of an operand of rank 2 or more costs a forward pass
    for (std::size_t i = 0; i < in_.size(); ++i) {
      const bool wanted =
          !is_absent(i) && (op.differentiable >> i & 1u) != 0 && is_float(in_[i].dtype);
      bench.add_output(wanted ? gradient(in_[i], Fill::kNormal) : TensorView{});
      times += wanted && in_[i].shape.rank() >= 2 ? 1 : 0;
    }
    return measure(bench, "backward", times, rounds, flusher);
  }

 private:
  bool is_absent(std::size_t i) const { return (case_.absent >> i & 1u) != 0; }

  int updated_input(std::size_t output) const {
    for (const AliasRule& rule : cases_.op->aliases)
      if (rule.kind == AliasKind::kUpdate && static_cast<std::size_t>(rule.output) == output)
        return rule.input;
    return -1;
  }

  void choose_formats() {
    if (cases_.op->layout == LayoutRule::kSame) choose_same_format();
    if (cases_.op->layout != LayoutRule::kChosen || cases_.op->cpu.choose_layout == nullptr) return;
    std::vector<std::int64_t> in(in_.size(), 1), out(out_.size(), 1);
    cases_.op->cpu.choose_layout(case_.attributes, in_, out_, in, out);
    for (std::size_t i = 0; i < in.size(); ++i) in_[i].set_channel_block(in[i]);
    for (std::size_t i = 0; i < out.size(); ++i) out_[i].set_channel_block(out[i]);
  }

  /// Between convolutions, images stand in blocks of 16 channels.
  void choose_same_format() {
    constexpr std::int64_t kBlock = 16;
    const auto is_image = [](const TensorType& t) {
      return t.shape.rank() == 4 && t.shape[1] != 1;
    };
    const auto fits = [&](const TensorType& t) { return !is_image(t) || t.shape[1] % kBlock == 0; };
    if (!std::ranges::all_of(in_, fits) || !std::ranges::all_of(out_, fits)) return;
    for (auto* types : {&in_, &out_})
      for (TensorType& t : *types)
        if (is_image(t)) t.set_channel_block(kBlock);
  }

  void fill(TensorView to, Fill values) {
    const std::int64_t classes =
        in_[0].shape.rank() > 0 ? std::max<std::int64_t>(in_[0].shape[-1], 1) : 1;
    for (std::int64_t i = 0; i < to.numel(); ++i) {
      const double unit = static_cast<double>(engine_() >> 11) * 0x1p-53;
      const double x =
          values == Fill::kPositive || values == Fill::kUnit ? 0.5 + unit / 4 : 2 * unit - 1;
      switch (to.type.dtype) {
        case DType::kF32:
          to.as<float>()[i] =
              static_cast<float>(values == Fill::kZeroOrOne ? (unit < 0.5 ? 0 : 1) : x);
          break;
        case DType::kBf16: to.as<Bf16>()[i] = Bf16(static_cast<float>(x)); break;
        case DType::kI64:
          to.as<std::int64_t>()[i] = static_cast<std::int64_t>(unit * static_cast<double>(classes));
          break;
        case DType::kI32:
          to.as<std::int32_t>()[i] = static_cast<std::int32_t>(unit * static_cast<double>(classes));
          break;
        case DType::kU8: to.as<std::uint8_t>()[i] = static_cast<std::uint8_t>(unit * 256); break;
      }
    }
  }

  Measurement measure(Bench& bench, const char* direction, double times, int rounds,
                      CacheFlusher& flusher) {
    bench.prepare();
    Measurement m{std::string(cases_.op->name), std::string(case_.name), std::string(name(dtype_)),
                  direction};
    m.seconds = median_seconds(rounds, flusher, [&] { bench.run(); });
    const bool own_bytes =
        times == 1 && std::strcmp(direction, "forward") == 0 && cases_.op->bytes_moved != nullptr;
    m.bytes = own_bytes ? static_cast<double>(cases_.op->bytes_moved(case_.attributes, plain_))
                        : bench.bytes();
    if (cases_.op->flops != nullptr)
      m.flops = times * static_cast<double>(cases_.op->flops(case_.attributes, plain_));
    return m;
  }

  const OpCases& cases_;
  const OpCases::Case& case_;
  DType dtype_;
  Stream& stream_;
  std::vector<TensorType> in_, plain_, out_;
  std::vector<Tensor> memory_;  // inputs, then outputs
  std::mt19937_64 engine_{1};
};

/// What this machine can do now: bytes per second of a copy (with the sign changed), operations per
/// second of a matrix product in each type.
struct Ceiling {
  double copy = 0, gemm_f32 = 0, gemm_bf16 = 0;
};

double gemm_rate(DType dtype, int rounds, CacheFlusher& flusher, Stream& stream) {
  constexpr std::int64_t kSize = 1024;
  const Attributes attributes;
  const TensorType type{dtype, {kSize, kSize}};
  const Tensor a(type, stream), b(type, stream), y(type, stream);
  std::memset(a.view().data, 0, type.size_bytes());
  std::memset(b.view().data, 0, type.size_bytes());
  Bench bench(find_operator("gemm"), attributes, false, stream);
  bench.add_input(a.view());
  bench.add_input(b.view());
  bench.add_output(y.view());
  bench.prepare();
  return 2.0 * kSize * kSize * kSize / median_seconds(rounds, flusher, [&] { bench.run(); });
}

Ceiling measure_ceiling(int rounds, CacheFlusher& flusher, Stream& stream) {
  constexpr std::size_t kBytes = std::size_t{16} << 20;
  const Buffer from(kBytes, stream), to(kBytes, stream);
  std::memset(from.data(), 1, kBytes);
  Ceiling c;
  // A loop as the kernels have it; memcpy of this size bypasses the caches and is slower on some
  // machines.
  const auto* x = reinterpret_cast<const float*>(from.data());
  auto* y = reinterpret_cast<float*>(to.data());
  c.copy = 2.0 * kBytes / median_seconds(rounds, flusher, [&] {
             for (std::size_t i = 0; i < kBytes / sizeof(float); ++i) y[i] = -x[i];
           });
  c.gemm_f32 = gemm_rate(DType::kF32, rounds, flusher, stream);
  c.gemm_bf16 = gemm_rate(DType::kBf16, rounds, flusher, stream);
  return c;
}

void print_row(const Measurement& m, const Ceiling& c) {
  const double gemm = m.type == "bf16" ? c.gemm_bf16 : c.gemm_f32;
  const std::string compute = m.flops > 0
                                  ? fmt::format("{:9.1f} {:4.0f} %", m.flops / m.seconds * 1e-9,
                                                100 * m.flops / m.seconds / gemm)
                                  : "";
  fmt::print("{:<22} {:<34} {:<5} {:<8} {:>11.1f} {:>8.2f} {:>4.0f} % {}\n", m.op, m.name, m.type,
             m.direction, m.seconds * 1e6, m.bytes / m.seconds * 1e-9,
             100 * m.bytes / m.seconds / c.copy, compute);
}

std::vector<Measurement> measure_case(const OpCases& cases, const OpCases::Case& c, DType dtype,
                                      const Options& options, CacheFlusher& flusher,
                                      Stream& stream) {
  CaseBench bench(cases, c, dtype, stream);
  std::vector<Measurement> found = {bench.forward(options.rounds, flusher)};
  if (cases.op->cpu.backward != nullptr) found.push_back(bench.backward(options.rounds, flusher));
  return found;
}

void write_json(const std::string& path, const std::vector<Measurement>& all, const Ceiling& c,
                int rounds) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Measurement& m : all)
    rows.push_back({{"op", m.op},
                    {"case", m.name},
                    {"type", m.type},
                    {"direction", m.direction},
                    {"seconds", m.seconds},
                    {"bytes", m.bytes},
                    {"flops", m.flops}});
  const nlohmann::ordered_json out = {{"rounds", rounds},
                                      {"copy_bytes_per_second", c.copy},
                                      {"gemm_f32_flops_per_second", c.gemm_f32},
                                      {"gemm_bf16_flops_per_second", c.gemm_bf16},
                                      {"measurements", rows}};
  std::ofstream file(path);
  file << out.dump(2) << '\n';
  require<IoError>(file.good(), fmt::format("cannot write '{}'", path));
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--only")
      options.only = argv[i + 1];
    else if (flag == "--json")
      options.json = argv[i + 1];
    else if (flag == "--rounds")
      options.rounds = static_cast<int>(parse_int(argv[i + 1]));
    else
      throw ConfigError(fmt::format("expected --only, --json or --rounds, found '{}'", flag));
  }
  require<ConfigError>(argc % 2 == 1, "every option takes a value");
  require<ConfigError>(options.rounds > 0, "--rounds must be positive");
  return options;
}

void run(const Options& options) {
  Stream stream{Device{}};
  CacheFlusher flusher;
  const Ceiling ceiling = measure_ceiling(options.rounds, flusher, stream);
  fmt::print(
      "copy {:.1f} GB/s, matrix product 1024: f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s; median of "
      "{} runs\n",
      ceiling.copy * 1e-9, ceiling.gemm_f32 * 1e-9, ceiling.gemm_bf16 * 1e-9, options.rounds);
  fmt::print("{:<22} {:<34} {:<5} {:<8} {:>11} {:>8} {:>6} {:>9} {:>6}\n", "operator", "case",
             "type", "", "us", "GB/s", "copy", "GFLOP/s", "gemm");
  std::vector<Measurement> all;
  for (const OpCases* cases : all_cases()) {
    if (!cases->op->name.starts_with(options.only)) continue;
    for (const OpCases::Case& c : cases->cases) {
      if (c.benchmark_n == 0) continue;
      for (const DType dtype : {DType::kF32, DType::kBf16}) {
        if (dtype == DType::kBf16 && cases->low_precision == 0) continue;
        for (const Measurement& m : measure_case(*cases, c, dtype, options, flusher, stream)) {
          print_row(m, ceiling);
          all.push_back(m);
        }
      }
    }
  }
  if (!options.json.empty()) write_json(options.json, all, ceiling, options.rounds);
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  try {
    phalanx::run(phalanx::parse(argc, argv));
    return 0;
  } catch (const phalanx::ConfigError& e) {
    fmt::print(stderr, "operators: {}\n", e.what());
    return static_cast<int>(phalanx::ExitCode::kUsage);
  } catch (const std::exception& e) {
    fmt::print(stderr, "operators: {}\n", e.what());
    return static_cast<int>(phalanx::ExitCode::kFailed);
  }
}
