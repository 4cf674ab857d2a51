// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace phalanx {

/// Drops nodes and values on which no output depends. Parameters, states and inputs stay.
Graph prune_unused(const Graph& graph);

/// The graph for evaluation, prediction and serving: dropout is gone, batch norm uses its running statistics.
Graph for_inference(const Graph& graph);

/// Comes behind `for_inference`: drops every batch_norm that alone reads a conv, or a gemm with transB = 1, whose weight and
/// bias nobody else reads. The product keeps its weight's name and has a bias from then on; what both must become stands in
/// `folds`, and whoever fills in the parameters does it (see fold_for_serving).
struct BatchNormFold {
  std::string weight, bias;                  ///< parameters of the product, [O, ...] and [O]
  bool had_bias = false;                     ///< false: the bias is new
  std::string scale, shift, mean, variance;  ///< of the batch norm
  double epsilon = 0;
};
struct FoldedGraph {
  Graph graph;
  std::vector<BatchNormFold> folds;
};
FoldedGraph fold_batch_norm(const Graph& graph);

/// Cuts the first layer by its input columns: input "x" shrinks to the columns [begin, end) of its flattened samples, the
/// weights [O, F] of the dense layer that reads it to the same columns, and its products are summed over the ranks before
/// the bias is added. The weights keep their name.
/// Throws    ConfigError if the first layer that reads "x" is not dense.
struct ColumnSplit {
  Graph graph;
  std::string weight;  ///< the parameter that is cut
};
ColumnSplit split_columns(const Graph& graph, std::int64_t begin, std::int64_t end);

/// Swaps a relu and the max pooling that alone reads it. Both keep order, so  max_pool(relu(x)) = relu(max_pool(x)), gradients
/// included (where the largest value of a window is not positive, either way nothing flows back), and the relu then works on
/// the few values that the pooling leaves.
Graph pool_before_relu(const Graph& graph);

/// Joins elementwise operators of one input into nodes of `unary_chain`, up to eight, where each is read by the next alone and
/// is no output: one kernel reads and writes a tensor in the place of several. In f32 values and gradients stay the same (on a
/// GPU gradients to rounding); in bf16 they are rounded once instead of after each operator. Comes before `differentiate`.
Graph fuse_unary_chains(const Graph& graph);

/// Lets a gemm or a conv apply the relu that alone reads it, and drops that node. The same values; a training step then keeps y
/// alone. Our kernels apply it on the way out of their sums and so read and write y once less; behind those of oneDNN and
/// cuDNN it is a pass over y. Comes before `differentiate`.
Graph fuse_activation(const Graph& graph);

/// Computes in bf16: floating inputs are cast on entry, every operator between runs on bf16 activations, and what feeds a
/// loss is cast back to f32. Parameters, states and gradients of parameters stay f32; kernels convert weights as they
/// pack them.
Graph lower_precision(const Graph& graph);

/// Gives every value of rank 4 the memory format that the kernels of `device` ask for, and inserts `reorder` nodes where
/// producer and consumer differ. Comes before `differentiate`, so that gradients follow the formats of their values.
/// The only pass that knows a device: it asks DeviceKernels::choose_layout.
Graph choose_layouts(const Graph& graph, Device device);

/// Appends the backward pass of output `loss`. Adds the input "d" + loss of the same type, the seed of the gradients: the
/// loss is summed over the samples of a rank, so feeding 1 / (samples of the global batch) averages over all ranks.
/// The gradient of parameter p is the value "d" + p. A value with several uses gets the sum of their gradients; a
/// parameter with several uses is added to in place.
/// Throws    Unsupported if an operator on the way has no backward kernel.
Graph differentiate(const Graph& graph, const std::string& loss);

/// Comes behind `differentiate`: replaces the softmax_cross_entropy that makes output "loss", and its backward node, by one
/// softmax_cross_entropy_step in the place of the first, and adds the output "correct", how many rows are right. The logits are
/// then read once, and where they are no output, their gradient may take their place. Other graphs stay as they are: those of
/// another loss, and those in which dloss is no input or something else reads what the loss saves.
Graph fuse_loss_gradient(const Graph& graph);

}  // namespace phalanx
