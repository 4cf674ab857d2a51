// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace phalanx {

/// Everything that defines a training run. Each member is the config key and flag of the same name with '-' for '_';
/// defaults, units and help texts stand in src/cli/train_options.cpp and configs/README.md.
struct TrainConfig {
  // run
  std::string output =
      "runs/default";  ///< folder for checkpoints, metrics, plots and the effective configuration
  std::string device = "auto";  ///< auto | cpu | cuda
  std::string gemm = "auto";    ///< auto | own | cublas: kernels of a GPU for products of matrices
  std::string conv = "auto";    ///< auto | own | cudnn: likewise for convolutions
  bool cuda_graph = false;      ///< a GPU gets a whole step by one call of the host
  std::int64_t threads = 1;     ///< OpenMP threads per rank
  std::int64_t seed = 1;

  // data
  std::string data;  ///< HDF5 file made by `phalanx data import`
  std::string train_split = "train";
  std::string test_split = "test";
  std::string partition = "shuffle";  ///< shuffle | range | hash | column
  bool shuffle = true;                ///< false: rows in the order of the data set, every epoch
  std::int64_t cache_mib = 4096;      ///< largest split kept whole in memory, per rank
  std::int64_t prefetch = 2;          ///< batches prepared ahead; 0: on the training thread
  bool normalise = true;  ///< subtract the data set's mean, divide by its standard deviation
  std::int64_t augment_crop = 0;    ///< pixels of zero padding for a random crop
  bool augment_flip = false;        ///< random horizontal flip
  std::int64_t augment_cutout = 0;  ///< side in pixels of a random square set to the mean

  // model
  std::string model = "layers";     ///< layers | mlp | a name from src/models
  std::vector<std::string> layer;   ///< model layers: one layer per entry, in order
  std::string hidden = "128";       ///< model mlp: widths of the hidden layers
  std::string activation = "relu";  ///< model mlp: after each hidden layer
  std::string loss =
      "auto";  ///< auto | softmax_cross_entropy | binary_cross_entropy | mean_squared_error
  std::string precision =
      "f32";  ///< f32 | tf32 (f32 by tensor cores of a GPU) | bf16 (activations and products);
              ///< parameters and gradients stay f32

  // optimizer
  std::string optimizer = "sgd";  ///< sgd | adam | adamw
  double learning_rate = 0.01;
  double momentum = 0.0;
  bool nesterov = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  double clip_norm = 0.0;             ///< largest global gradient norm; 0: no clipping
  std::string schedule = "constant";  ///< constant | step | cosine | linear | one-cycle
  double warmup_epochs = 0.0;
  double step_epochs = 10.0;  ///< schedule step: epochs between drops
  double step_factor = 0.1;   ///< schedule step: factor of each drop
  double final_factor = 0.0;  ///< cosine, linear, one-cycle: rate at the end over the peak rate

  // batches and stopping
  std::int64_t batch_size = 64;  ///< samples per step over all ranks
  std::int64_t accumulate = 1;   ///< micro-batches a step is cut into
  double epochs = 10.0;
  std::int64_t max_steps = 0;   ///< 0: no limit
  double max_seconds = 0.0;     ///< 0: no limit
  double stop_loss = 0.0;       ///< stop when an epoch's mean training loss falls to this; 0: never
  std::int64_t early_stop = 0;  ///< stop after this many evaluations without improvement; 0: never

  // what is written when
  std::int64_t evaluate_every = 1;    ///< epochs; 0: only at the end
  std::int64_t evaluate_steps = 0;    ///< steps; 0: by epochs only
  std::string best_metric = "auto";   ///< of an evaluation: decides which checkpoint is the best
  std::int64_t checkpoint_every = 1;  ///< epochs; 0: only at the end
  std::int64_t checkpoint_steps = 0;  ///< steps; 0: by epochs only
  bool checkpoint_async = true;       ///< written by a thread while training goes on
  std::int64_t keep = 3;              ///< newest checkpoints kept beside the best
  std::int64_t log_every = 50;        ///< steps between lines of metrics
  std::string trace;  ///< file for a timeline of the first trace_steps steps; empty: none
  std::int64_t trace_steps = 20;

  // same bits
  bool reproducible = false;        ///< parameters do not depend on the number of ranks
  std::int64_t virtual_shards = 8;  ///< reproducible: parts of a batch, each computed by itself

  // when something goes wrong
  std::string bad_loss =
      "stop";  ///< stop | skip: what to do about a step whose loss is not finite or an outlier
  double outlier_sigmas =
      0.0;  ///< a loss so many standard deviations above the last 128 is bad; 0: none is
  std::int64_t check_divergence =
      1000;  ///< steps between comparisons of all parameters over ranks; 0: never
  std::string stop_signals = "USR1 TERM";  ///< save a checkpoint and end with ExitCode::kPreempted

  // energy
  double watts_per_node = 0.0;  ///< estimate where the processors' use cannot be measured; 0: none
  double pue = 1.0;             ///< power usage effectiveness of the data centre
  double grid_g_per_kwh = 0.0;  ///< carbon intensity of the electricity, gCO2e; 0: unknown

  // communication
  std::string progress = "auto";  ///< auto | thread | inline
  std::string bucket =
      "auto";  ///< MiB of gradients that are summed together; auto: tuned in the first steps
  std::string gradient_compression = "none";  ///< none | bf16
  bool shard_optimizer = false;     ///< each rank updates a part of the parameters (ZeRO stage 1)
  double deadline_seconds = 300.0;  ///< longest wait in a collective before the job is ended

  // afterwards
  bool then_serve = false;  ///< the ranks go on as a server of what they trained
  std::string serve_flags;  ///< of `phalanx serve`

  /// Members are equal; doubles as numbers, which the text form of a configuration keeps exactly.
  bool operator==(const TrainConfig&) const = default;
};

}  // namespace phalanx
