// SPDX-License-Identifier: Apache-2.0
// How fast shuffled batches come out of a data set: with the split in memory, and with a cache too small for it.
//
//   bench_loader data/cache/cifar10.h5 [BATCH=64] [CACHE_MIB=32]
#include <fmt/format.h>

#include <chrono>
#include <string>

#include "data/dataset.hpp"
#include "data/loader.hpp"

namespace phalanx {
namespace {

double samples_per_second(const std::string& path, std::int64_t batch, std::size_t cache_bytes,
                          bool augment, double seconds) {
  Dataset dataset(path, "train", cache_bytes);
  const bool image = dataset.info().kind == SampleKind::kImage;
  Loader loader(
      dataset, Sampler({.rows = dataset.size(), .batch_size = batch}),
      {.normalise = true, .crop_padding = augment && image ? 4 : 0, .flip = augment && image}, 0);
  loader.begin(0);
  loader.next();
  const auto begin = std::chrono::steady_clock::now();
  double elapsed = 0;
  std::int64_t samples = 0;
  while (elapsed < seconds) {
    samples += static_cast<std::int64_t>(loader.next().slice.rows.size());
    elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return static_cast<double>(samples) / elapsed;
}

}  // namespace
}  // namespace phalanx

int main(int argc, char** argv) {
  using namespace phalanx;
  if (argc < 2) {
    fmt::print("usage: bench_loader DATA.h5 [BATCH] [CACHE_MIB]\n");
    return 2;
  }
  try {
    const std::int64_t batch = argc > 2 ? std::stoll(argv[2]) : 64;
    const std::size_t small = (argc > 3 ? std::stoull(argv[3]) : 32) << 20;
    constexpr std::size_t kAll = std::size_t{1} << 40;
    fmt::print("shuffled batches of {} from {}, one thread, no prefetch\n", batch, argv[1]);
    fmt::print("  in memory                 {:>10.0f} samples/s\n",
               samples_per_second(argv[1], batch, kAll, false, 2));
    fmt::print("  in memory, augmented      {:>10.0f} samples/s\n",
               samples_per_second(argv[1], batch, kAll, true, 2));
    fmt::print("  from disk, {:>4} MiB cache {:>10.0f} samples/s\n", small >> 20,
               samples_per_second(argv[1], batch, small, false, 2));
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
