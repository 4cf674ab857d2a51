// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"

namespace phalanx {

/// What a model is built from. All of it comes from the configuration, and all of it stands in a checkpoint.
struct ModelSpec {
  std::string name = "layers";      ///< layers | mlp | ...: an entry of model_builders()
  std::vector<std::string> layers;  ///< name = layers: one line per layer
  std::string hidden;               ///< name = mlp: widths of the hidden layers, "128 64"
  std::string activation = "relu";  ///< name = mlp
  Shape sample;                     ///< of one sample: [C, H, W] or [F]
  std::int64_t outputs = 0;         ///< values per sample that the task wants: classes, or targets
};

/// Adds a model to `graph` behind the value `x` [batch, ...sample] and returns its output [batch, outputs].
using ModelBuilder = ValueId (*)(Graph& graph, const ModelSpec& spec, ValueId x);

struct NamedBuilder {
  std::string_view name;
  ModelBuilder build;
  std::string_view help;  ///< which of ModelSpec it uses
};

/// Every model of this build. Adding one is a file with its builder and a row here.
std::span<const NamedBuilder> model_builders() noexcept;

/// The graph of a model for a batch of `batch` samples: input "x" f32 [batch, ...sample], output "y" [batch, outputs].
/// A softmax or sigmoid at the end stays in the graph; see attach_loss.
/// Throws    ConfigError if the model is unknown, a layer line is malformed, or layers do not fit each other; the text
///           names the layer and both shapes.
Graph build_model(const ModelSpec& spec, std::int64_t batch);

/// Adds the output "logits", what the loss reads: the input of a final softmax (softmax_cross_entropy) or sigmoid
/// (binary_cross_entropy), otherwise y itself.
/// Throws    ConfigError for another loss than those of attach_loss.
void attach_logits(Graph& graph, const std::string& loss);

/// Adds "logits", the input "target", the output "loss", a sum over the samples, and for classifiers the output "correct",
/// the number of right answers.
///
/// softmax_cross_entropy  target i64 [batch]
/// binary_cross_entropy   target f32 [batch, outputs]; per sample the mean over the outputs
/// mean_squared_error     target f32 [batch, outputs]; per sample the mean over the outputs
/// Throws    as attach_logits.
void attach_loss(Graph& graph, const std::string& loss);

/// Layers by keyword, one line each, as in a configuration file. For builders of models and for `layer =`.
///
///   conv CHANNELS KHxKW [stride S] [pad P] [dilation D] [groups G] [no-bias]     pad also takes "same"
///   max_pool | average_pool KHxKW [stride S] [pad P]                            stride defaults to the kernel
///   global_average_pool | flatten | softmax
///   dense WIDTH [no-bias]                                                        flattens what comes before
///   batch_norm [epsilon E] [momentum M]                                          M: share of the old value, 0.9
///   dropout RATIO
///   relu | leaky_relu [SLOPE] | elu [ALPHA] | sigmoid | tanh | gelu
class LayerBuilder {
 public:
  LayerBuilder(Graph& graph, ValueId x) : graph_(graph), x_(x) {}

  /// Adds one layer behind the last.
  /// Throws    ConfigError "layer 3 'conv 64': ..." for a malformed line or shapes that do not fit.
  void add(std::string_view line);
  ValueId output() const noexcept { return x_; }

 private:
  struct Words;
  void conv(Words& words);
  void dense(Words& words);
  void pool(std::string_view op, Words& words);
  void batch_norm(Words& words);
  void plain(std::string_view op, const Attributes& attributes);
  std::string next_name(std::string_view op);
  const Shape& shape() const { return graph_.value(x_).type.shape; }

  Graph& graph_;
  ValueId x_;
  std::vector<std::pair<std::string, int>> counts_;
  int line_ = 0;
};

}  // namespace phalanx
