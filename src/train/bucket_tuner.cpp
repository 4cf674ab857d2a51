// SPDX-License-Identifier: Apache-2.0
#include "train/bucket_tuner.hpp"

#include <algorithm>

#include "core/text.hpp"

namespace phalanx {

namespace {

constexpr double kMiB = 1 << 20;
constexpr double kSizesMiB[] = {1, 2, 4, 8, 16, 32, 64};
constexpr double kFirstMiB = 25;

}  // namespace

std::size_t first_bucket_bytes(const TrainConfig& config) {
  const double mib = config.bucket == "auto" ? kFirstMiB : parse_double(config.bucket);
  return static_cast<std::size_t>(mib * kMiB);
}

BucketTuner::BucketTuner(const TrainConfig& config, GradientReducer* reducer, Communicator& comm,
                         Stream& stream)
    : reducer_(reducer),
      comm_(comm),
      stream_(stream),
      bucket_bytes_(first_bucket_bytes(config)),
      steps_(kWarmUp) {
  if (config.bucket != "auto" || reducer == nullptr) return;
  const auto bytes = static_cast<std::size_t>(reducer->gradients()) * sizeof(float);
  for (const double mib : kSizesMiB)
    if (const auto size = static_cast<std::size_t>(mib * kMiB); size < bytes)
      trials_.push_back({.bucket_bytes = size});
  if (trials_.empty()) return;  // the first bucket holds all
  trials_.push_back({.bucket_bytes = bytes});
  use(trials_.front().bucket_bytes);
}

void BucketTuner::use(std::size_t bucket_bytes) {
  bucket_bytes_ = bucket_bytes;
  reducer_->set_bucket_bytes(bucket_bytes);
}

bool BucketTuner::after_step(double seconds) {
  if (is_done()) return false;
  if (steps_ > 0) {
    --steps_;
    return false;
  }
  seconds_.push_back(seconds);
  if (seconds_.size() < kSteps) return false;
  std::ranges::nth_element(seconds_, seconds_.begin() + kSteps / 2);
  trials_[present_].seconds = seconds_[kSteps / 2];
  seconds_.clear();
  steps_ = 1;
  if (++present_ < trials_.size()) {
    use(trials_[present_].bucket_bytes);
    return false;
  }
  choose();
  return true;
}

void BucketTuner::choose() {
  std::vector<float> seconds;
  for (const Trial& trial : trials_) seconds.push_back(static_cast<float>(trial.seconds));
  comm_.all_reduce({seconds.data(), {DType::kF32, Shape{std::ssize(seconds)}}}, ReduceOp::kMax,
                   stream_);
  for (std::size_t i = 0; i < trials_.size(); ++i)
    trials_[i].seconds = static_cast<double>(seconds[i]);
  use(std::ranges::min_element(trials_, {}, &Trial::seconds)->bucket_bytes);
}

}  // namespace phalanx
