// SPDX-License-Identifier: Apache-2.0
#include "cli/train_options.hpp"

#include <fmt/format.h>

#include <bit>

#include "core/error.hpp"
#include "core/text.hpp"

namespace phalanx {
namespace {

void add_run(OptionTable& table, TrainConfig& c) {
  table.group("Run");
  table.add("output", &c.output, "path", "folder for checkpoints, metrics, plots and config.cfg")
      .not_empty();
  table.add("device", &c.device, "", "where to compute; auto takes a GPU if there is one")
      .choices({"auto", "cpu", "cuda"});
  table.add("gemm", &c.gemm, "", "GPU: whose products of matrices; auto measures")
      .choices({"auto", "own", "cublas"});
  table.add("conv", &c.conv, "", "GPU: whose convolutions; auto measures")
      .choices({"auto", "own", "cudnn"});
  table.add("cuda-graph", &c.cuda_graph, "",
            "GPU: a step is captured and then launched as a whole, with its sums over ranks");
  table.add("threads", &c.threads, "threads", "OpenMP threads per rank").at_least(1);
  table
      .add("seed", &c.seed, "",
           "start of every random number: weights, order, augmentation, dropout")
      .at_least(0);
}

void add_data(OptionTable& table, TrainConfig& c) {
  table.group("Data");
  table.add("data", &c.data, "path", "HDF5 file made by 'phalanx data import'").required();
  table.add("train-split", &c.train_split, "", "split to train on").not_empty();
  table.add("test-split", &c.test_split, "", "split to evaluate on; empty (\"\"): none");
  table.add("partition", &c.partition, "", "which samples of an epoch a rank takes")
      .choices({"shuffle", "range", "hash", "column"});
  table.add("shuffle", &c.shuffle, "",
            "a new random order every epoch; false: the order of the data set");
  table.add("cache-mib", &c.cache_mib, "MiB", "largest split kept whole in memory, per rank")
      .at_least(0);
  table
      .add("prefetch", &c.prefetch, "batches",
           "how many are prepared ahead; 0: none, the training thread reads")
      .at_least(0);
  table.add("normalise", &c.normalise, "",
            "subtract the data set's mean and divide by its standard deviation");
  table
      .add("augment-crop", &c.augment_crop, "pixels",
           "zero padding on each side before a random crop to the old size; 0: none")
      .at_least(0);
  table.add("augment-flip", &c.augment_flip, "",
            "mirror half of the training images left to right");
  table
      .add("augment-cutout", &c.augment_cutout, "pixels",
           "side of a random square set to the mean; 0: none")
      .at_least(0);
}

void add_model(OptionTable& table, TrainConfig& c) {
  table.group("Model");
  table.add("model", &c.model, "", "layers (see the key layer), mlp, or another built-in name")
      .not_empty();
  table.add("layer", &c.layer, "", "one layer of the model 'layers'; repeat the key, in order")
      .not_empty();
  table.add("hidden", &c.hidden, "",
            "widths of the hidden layers of the model 'mlp', such as \"128 64\"");
  table.add("activation", &c.activation, "", "after each hidden layer of the model 'mlp'")
      .choices({"relu", "leaky_relu", "elu", "sigmoid", "tanh", "gelu"});
  table.add("loss", &c.loss, "", "what is minimised; auto decides by the data set's labels")
      .choices({"auto", "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"});
  table
      .add("precision", &c.precision, "",
           "type of activations and products; parameters and gradients stay f32")
      .choices({"f32", "tf32", "bf16"});
}

void add_optimizer(OptionTable& table, TrainConfig& c) {
  table.group("Optimizer");
  table.add("optimizer", &c.optimizer, "", "rule that updates the parameters")
      .choices({"sgd", "adam", "adamw"});
  table.add("learning-rate", &c.learning_rate, "", "peak of the schedule").at_least(0);
  table.add("momentum", &c.momentum, "", "sgd: share of the last update that is kept")
      .at_least(0)
      .below(1);
  table.add("nesterov", &c.nesterov, "", "sgd: look ahead along the momentum");
  table.add("beta1", &c.beta1, "", "adam, adamw: decay of the mean gradient").at_least(0).below(1);
  table.add("beta2", &c.beta2, "", "adam, adamw: decay of the mean squared gradient")
      .at_least(0)
      .below(1);
  table.add("epsilon", &c.epsilon, "", "adam, adamw: added to the divisor").above(0);
  table
      .add("weight-decay", &c.weight_decay, "",
           "adamw: decoupled; sgd, adam: added to the gradient")
      .at_least(0);
  table.add("clip-norm", &c.clip_norm, "", "largest global gradient norm; 0: no clipping")
      .at_least(0);
}

void add_schedule(OptionTable& table, TrainConfig& c) {
  table.group("Learning rate schedule");
  table.add("schedule", &c.schedule, "", "learning rate over the steps")
      .choices({"constant", "step", "cosine", "linear", "one-cycle"});
  table
      .add("warmup-epochs", &c.warmup_epochs, "epochs",
           "linear rise to the peak; one-cycle: 30 % of the run if 0")
      .at_least(0);
  table.add("step-epochs", &c.step_epochs, "epochs", "step: between drops, after the warm-up")
      .above(0);
  table.add("step-factor", &c.step_factor, "", "step: what each drop multiplies the rate by")
      .above(0)
      .at_most(1);
  table
      .add("final-factor", &c.final_factor, "",
           "cosine, linear, one-cycle: rate at the end of the run over the peak")
      .at_least(0)
      .at_most(1);
}

void add_batches(OptionTable& table, TrainConfig& c) {
  table.group("Batches and stopping");
  table.add("batch-size", &c.batch_size, "samples", "in one step, over all ranks").at_least(1);
  table.add("accumulate", &c.accumulate, "micro-batches", "that a step is cut into, to save memory")
      .at_least(1);
  table.add("epochs", &c.epochs, "epochs", "length of the run").above(0);
  table.add("max-steps", &c.max_steps, "steps", "stop after so many; 0: no limit").at_least(0);
  table.add("max-seconds", &c.max_seconds, "s", "stop after so many; 0: no limit").at_least(0);
  table
      .add("stop-loss", &c.stop_loss, "",
           "stop when an epoch's mean training loss falls to it; 0: never")
      .at_least(0);
  table
      .add("early-stop", &c.early_stop, "evaluations",
           "stop after so many without a better result; 0: never")
      .at_least(0);
}

void add_output(OptionTable& table, TrainConfig& c) {
  table.group("What is written when");
  table
      .add("evaluate-every", &c.evaluate_every, "epochs",
           "between evaluations on the test split; 0: only at the end")
      .at_least(0);
  table
      .add("evaluate-steps", &c.evaluate_steps, "steps",
           "between evaluations within an epoch; 0: by epochs only")
      .at_least(0);
  table
      .add("best-metric", &c.best_metric, "",
           "of an evaluation: decides which checkpoint is the best; auto: accuracy, or loss")
      .choices({"auto", "loss", "accuracy", "f1", "top5_accuracy", "perplexity",
                "mean_absolute_error", "r2"});
  table
      .add("checkpoint-every", &c.checkpoint_every, "epochs",
           "between checkpoints; 0: only at the end")
      .at_least(0);
  table
      .add("checkpoint-steps", &c.checkpoint_steps, "steps",
           "between checkpoints within an epoch; 0: by epochs only")
      .at_least(0);
  table.add("checkpoint-async", &c.checkpoint_async, "",
            "write checkpoints beside the training, from a copy in memory; false: training waits");
  table.add("keep", &c.keep, "checkpoints", "how many of the newest are kept beside the best")
      .at_least(1);
  table.add("trace", &c.trace, "path",
            "timeline of all ranks, for Perfetto or chrome://tracing; empty (\"\"): none");
  table
      .add("trace-steps", &c.trace_steps, "steps",
           "how many the timeline holds, from the start of the run")
      .at_least(1);
  table.add("log-every", &c.log_every, "steps", "between lines of metrics").at_least(1);
}

void add_reproducibility(OptionTable& table, TrainConfig& c) {
  table.group("Same bits on any number of ranks");
  table.add("reproducible", &c.reproducible, "",
            "parameters do not depend on the number of ranks, threads or hosts");
  table
      .add("virtual-shards", &c.virtual_shards, "shards",
           "reproducible: parts of a batch, a power of two; ranks must divide it")
      .at_least(1)
      .at_most(4096);
}

void add_troubles(OptionTable& table, TrainConfig& c) {
  table.group("When something goes wrong");
  table
      .add("bad-loss", &c.bad_loss, "",
           "a step whose loss is not finite or an outlier: end the run, or leave the step out")
      .choices({"stop", "skip"});
  table
      .add("outlier-sigmas", &c.outlier_sigmas, "",
           "a loss so many standard deviations above the last 128 steps is an outlier; 0: none is")
      .at_least(0);
  table
      .add("check-divergence", &c.check_divergence, "steps",
           "between comparisons of all parameters over ranks; 0: never")
      .at_least(0);
  table.add("stop-signals", &c.stop_signals, "",
            "signals that make the run save a checkpoint and end with code 6; empty (\"\"): none");
}

void add_energy(OptionTable& table, TrainConfig& c) {
  table.group("Energy");
  table
      .add("watts-per-node", &c.watts_per_node, "W",
           "estimate where the processors' use cannot be measured; 0: none")
      .at_least(0);
  table.add("pue", &c.pue, "", "power usage effectiveness: data centre over its computers")
      .at_least(1);
  table
      .add("grid-g-per-kwh", &c.grid_g_per_kwh, "gCO2e/kWh",
           "carbon intensity of the electricity; 0: unknown")
      .at_least(0);
}

void add_communication(OptionTable& table, TrainConfig& c) {
  table.group("Communication");
  table
      .add("progress", &c.progress, "",
           "who drives MPI: a thread of its own, or the training thread")
      .choices({"auto", "thread", "inline"});
  table.add("bucket", &c.bucket, "MiB",
            "size of a bucket of gradients summed together; auto: the first steps try some");
  table
      .add("gradient-compression", &c.gradient_compression, "",
           "gradients travel as bf16; what rounding takes is added in the next step")
      .choices({"none", "bf16"});
  table.add("shard-optimizer", &c.shard_optimizer, "",
            "each rank keeps the optimizer's state of a part of the parameters, and updates it");
  table
      .add("deadline-seconds", &c.deadline_seconds, "s",
           "longest wait in a collective before the job is ended")
      .above(0);
}

void add_afterwards(OptionTable& table, TrainConfig& c) {
  table.group("Afterwards");
  table.add("then-serve", &c.then_serve, "",
            "the ranks go on as a server of the network that they hold, without a file in between");
  table.add("serve-flags", &c.serve_flags, "", "of `phalanx serve`, such as \"--port 9000\"");
  table.add_check([&c](const OptionTable& t) {
    if (c.then_serve && c.partition == "column")
      t.refuse("then-serve", "with partition = column every rank holds a part of the network");
  });
}

bool is_bucket(const std::string& text) {
  if (text == "auto") return true;
  try {
    const double mib = parse_double(text);
    return mib > 0 && mib <= 1e6;
  } catch (const InvalidInput&) {
    return false;
  }
}

void check_together(const TrainConfig& c, const OptionTable& table) {
  if (c.accumulate > c.batch_size)
    table.refuse("accumulate", fmt::format("expected at most batch-size = {}, found '{}'",
                                           c.batch_size, c.accumulate));
  if (!std::has_single_bit(static_cast<std::uint64_t>(c.virtual_shards)))
    table.refuse("virtual-shards",
                 fmt::format("expected a power of two, found '{}'", c.virtual_shards));
  if (c.reproducible && c.partition != "shuffle")
    table.refuse("partition",
                 fmt::format("expected shuffle with reproducible = true, found '{}'", c.partition));
  if (c.reproducible && c.gradient_compression != "none")
    table.refuse("gradient-compression",
                 "expected none with reproducible = true: what is rounded depends on the ranks");
  if (c.partition == "column" && (c.shard_optimizer || c.gradient_compression != "none"))
    table.refuse(c.shard_optimizer ? "shard-optimizer" : "gradient-compression",
                 "expected to be off with partition = column, where no gradients are summed");
  if (!is_bucket(c.bucket))
    table.refuse("bucket",
                 fmt::format("expected auto or a number of MiB > 0, found '{}'", c.bucket));
  if (c.nesterov && c.momentum == 0)
    table.refuse("nesterov", "expected false with momentum = 0, found 'true'");
  if (c.nesterov && c.optimizer != "sgd")
    table.refuse("nesterov",
                 fmt::format("expected false with optimizer = {}, found 'true'", c.optimizer));
}

}  // namespace

OptionTable train_options(TrainConfig& config) {
  OptionTable table("phalanx train [options] <config>");
  table.accept_config_file();
  add_run(table, config);
  add_data(table, config);
  add_model(table, config);
  add_optimizer(table, config);
  add_schedule(table, config);
  add_batches(table, config);
  add_output(table, config);
  add_reproducibility(table, config);
  add_troubles(table, config);
  add_energy(table, config);
  add_communication(table, config);
  add_afterwards(table, config);
  table.add_check([&config](const OptionTable& t) { check_together(config, t); });
  return table;
}

TrainConfig parse_train_config(std::span<const std::string> args) {
  TrainConfig config;
  if (train_options(config).parse(args) != CliAction::kRun)
    throw ConfigError("command line: expected a run, found --help or --dump-config");
  return config;
}

TrainConfig read_train_config(std::string_view text, std::string_view name) {
  TrainConfig config;
  train_options(config).read_text(text, name);
  return config;
}

std::string dump_config(const TrainConfig& config) {
  TrainConfig copy = config;
  return train_options(copy).dump();
}

}  // namespace phalanx
