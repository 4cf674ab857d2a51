// SPDX-License-Identifier: Apache-2.0
#include "bench/stopwatch.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "device/backend.hpp"

namespace phalanx {
namespace {

constexpr std::int64_t kFlushBlock = 4096;  // elements whose squares become one sum

}  // namespace

Stopwatch::Stopwatch(Stream& stream, std::size_t flush_bytes)
    : stream_(stream),
      begin_(stream.device(), Event::Clock::kDevice),
      end_(stream.device(), Event::Clock::kDevice) {
  const auto elements = static_cast<std::int64_t>(flush_bytes / sizeof(float));
  other_memory_ = Tensor({DType::kF32, Shape{elements}}, stream, "emptying the caches");
  fill_zero(other_memory_.view(), stream);
  if (on_gpu())
    sums_ = Tensor({DType::kI64, Shape{(elements + kFlushBlock - 1) / kFlushBlock}}, stream);
}

void Stopwatch::flush() {
  const TensorView all = other_memory_.view();
  if (on_gpu()) {
    stream_.device().backend->sum_squares(all.as<float>(), all.numel(), kFlushBlock,
                                          sums_.view().as<double>(), stream_.handle());
    return;
  }
  const auto* bytes = all.as<unsigned char>();
  for (std::size_t i = 0; i < all.type.size_bytes(); i += 64)
    read_ = static_cast<unsigned char>(read_ + bytes[i]);
}

double Stopwatch::seconds(const Work& work, int runs) {
  flush();
  if (on_gpu()) {
    begin_.record(stream_);
    for (int i = 0; i < runs; ++i) work();
    end_.record(stream_);
    stream_.synchronize();
    return seconds_between(begin_, end_) / runs;
  }
  const auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < runs; ++i) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() / runs;
}

/// Warms up.
int Stopwatch::runs_of(const Work& work) {
  constexpr int kWarmUps = 2, kMostRuns = 20;
  constexpr double kSeconds = 2e-3;  // on a GPU: long against the clock's steps of half a us
  for (int i = 0; i < kWarmUps; ++i) work();
  const double once = seconds(work, 1);
  if (!on_gpu() || once <= 0) return 1;
  return static_cast<int>(std::clamp(std::ceil(kSeconds / once), 1.0, double{kMostRuns}));
}

std::vector<double> Stopwatch::medians(std::span<const Work> works, int rounds) {
  std::vector<int> runs;
  for (const Work& work : works) runs.push_back(runs_of(work));
  std::vector<std::vector<double>> times(works.size());
  for (int round = 0; round < rounds; ++round)
    for (std::size_t w = 0; w < works.size(); ++w) times[w].push_back(seconds(works[w], runs[w]));
  std::vector<double> found;
  for (std::vector<double>& t : times) {
    std::ranges::nth_element(t, t.begin() + rounds / 2);
    found.push_back(t[static_cast<std::size_t>(rounds / 2)]);
  }
  return found;
}

Stopwatch::Work CopyCeiling::of(double bytes) {
  const auto elements = static_cast<std::size_t>(std::max(bytes / 2 / sizeof(float), 1.0));
  const std::size_t half = elements * sizeof(float);
  const bool grows = half > from_.size_bytes();
  std::byte *from = from_.reserve(half), *to = to_.reserve(half);
  if (grows) fill_zero(from, from_.size_bytes(), stream_);
  if (stream_.device().backend != nullptr)
    return [=, this] { copy_bytes(from, to, half, stream_); };
  // A loop as the kernels have it; memcpy of this size bypasses the caches and is slower on some machines.
  return [=] {
    const auto* x = reinterpret_cast<const float*>(from);
    auto* y = reinterpret_cast<float*>(to);
    for (std::size_t i = 0; i < elements; ++i) y[i] = -x[i];
  };
}

}  // namespace phalanx
