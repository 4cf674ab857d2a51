// SPDX-License-Identifier: Apache-2.0
#include "train/run_energy.hpp"

#include <array>

namespace phalanx {

RunEnergy::RunEnergy(const TrainConfig& config, const RankLayout& layout, Communicator& comm,
                     Stream& stream)
    : comm_(comm), stream_(stream) {
  if (layout.local_rank != 0) return;
  meter_.emplace(EnergyOptions{.estimated_watts = config.watts_per_node,
                               .pue = config.pue,
                               .grid_g_per_kwh = config.grid_g_per_kwh});
  meter_->start();
}

void RunEnergy::update() {
  if (meter_) meter_->update();
}

EnergyUse RunEnergy::of_all_nodes() {
  EnergyUse use;
  if (meter_) use = meter_->read();
  std::array<float, 4> sums{static_cast<float>(use.cpu_joules), static_cast<float>(use.gpu_joules),
                            use.is_estimate ? 1.0f : 0.0f, meter_ && !use.is_known ? 1.0f : 0.0f};
  comm_.all_reduce({sums.data(), {DType::kF32, Shape{4}}}, ReduceOp::kSum, stream_);
  use.cpu_joules = static_cast<double>(sums[0]);
  use.gpu_joules = static_cast<double>(sums[1]);
  use.is_estimate = sums[2] > 0;
  use.is_known = sums[3] == 0;
  return use;
}

}  // namespace phalanx
