// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "op/attributes.hpp"
#include "op/packed_parameters.hpp"
#include "tensor/tensor.hpp"

namespace phalanx {

using Types = std::span<const TensorType>;
using Inputs = std::span<const ConstTensorView>;
using Outputs = std::span<const TensorView>;

/// What an operator that draws random numbers draws from. A draw is a function of (seed, node, step, first_row + row,
/// element), so that it depends neither on the number of ranks nor on how a batch is cut.
struct RandomState {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;       ///< optimizer step
  std::uint64_t first_row = 0;  ///< place in the global batch of this rank's first row
  std::uint32_t node = 0;       ///< distinguishes the random nodes of a graph
};

/// What a kernel adds to step and first_row of a RandomState. It lies in memory of the device: a captured kernel has fixed
/// arguments and still draws anew each time.
struct RandomPlace {
  std::uint64_t step = 0, first_row = 0;
};

/// What a kernel made once, when it was planned, to be run many times: primitives, packed weights. Not thread-safe.
class OpState {
 public:
  virtual ~OpState() = default;
  /// Scratch that the kernel wants in OpContext::workspace on every run.
  virtual std::size_t workspace_bytes() const noexcept { return 0; }
};

/// What surrounds one run of a kernel.
struct OpContext {
  Stream& stream;
  const Attributes& attributes;
  std::span<std::byte> workspace;  ///< 256-byte aligned, at least state->workspace_bytes()
  OpState* state = nullptr;        ///< from the matching `prepare`, if the operator has one
  RandomState random;
  /// Bit i: output i is a parameter's gradient that already holds something, so add to it. Otherwise overwrite.
  std::uint32_t accumulate = 0;
  /// Changes whenever parameters may have changed; kernels that keep packed weights repack then.
  std::uint64_t parameter_version = 0;
  PackedParameters* packed = nullptr;         ///< of the network; null: a kernel keeps its own
  const RandomPlace* random_place = nullptr;  ///< null: zeros; on the CPU always

  bool adds_to(std::size_t output) const noexcept { return (accumulate >> output & 1u) != 0; }
};

/// Enqueues one operator on ctx.stream.
///
/// Forward   in = the inputs; out = the outputs, saved ones last.
/// Backward  in = the inputs, the outputs (saved ones included), the gradients of the outputs, in this order; out = the
///           gradients of the inputs. Absent operands have null data: what `needs` does not name, optional inputs that
///           were not given, gradients nobody wants. A gradient has the type of the value it belongs to, except that the
///           gradient of a parameter is f32 even where the kernel was given the parameter's bf16 copy.
using Kernel = void (*)(OpContext& ctx, Inputs in, Outputs out);

/// The same for several shards of a batch at once: one list of operands per shard, of equal types. What belongs to no shard
/// (parameters and their gradients) is the same operand in every list. A gradient is the sum over the shards in the order
/// of combine(), so that it does not depend on how many of a batch's shards are given here.
using ShardsKernel = void (*)(OpContext& ctx, std::span<const Inputs> in,
                              std::span<const Outputs> out);

/// One node as its kernel will see it. An absent operand has the type TensorType() and `present` says so.
struct PrepareArguments {
  const Attributes& attributes;
  Types in, out;
  std::span<const bool> in_present, out_present;
  Device device;
};

/// Makes the state for one node.
using Prepare = std::unique_ptr<OpState> (*)(const PrepareArguments& given);

/// Which memory formats an operator accepts for tensors of rank 4.
enum class LayoutRule : std::uint8_t {
  kPlain,   ///< every operand plain
  kSame,    ///< any format, the same for all operands of the first input's shape rank; others plain
  kChosen,  ///< the device's kernel says: DeviceKernels::choose_layout
};

/// Fills in the channel blocks that the kernel wants for its inputs, and those its outputs will have.
using ChooseLayout = void (*)(const Attributes& attributes, Types in, Types out,
                              std::span<std::int64_t> in_blocks,
                              std::span<std::int64_t> out_blocks);

/// One device's half of an operator. A null entry is an honest Unsupported.
struct DeviceKernels {
  Kernel forward = nullptr;
  Kernel backward = nullptr;
  Prepare prepare_forward = nullptr;   ///< null: the kernel needs no state
  Prepare prepare_backward = nullptr;  ///< null: the kernel needs no state
  ChooseLayout choose_layout = nullptr;
  /// Where going through the shards one by one would read large weights or write large gradients once per shard. Each has a
  /// `prepare` of its own, from the types of one shard, which gives null to have them go one by one after all. Used where
  /// every input that may be a parameter is one.
  ShardsKernel forward_shards = nullptr;
  ShardsKernel backward_shards = nullptr;
  Prepare prepare_forward_shards = nullptr;
  Prepare prepare_backward_shards = nullptr;
};

enum class AliasKind : std::uint8_t {
  kView,  ///< the output is always the input's bytes under another shape; nothing runs when they share memory
  kMay,     ///< the output may overwrite the input if nobody reads it later; equal types
  kUpdate,  ///< the output is the input, updated in place (running statistics, optimizer state)
};

/// Output `output` may or must share the memory of input `input`.
struct AliasRule {
  int output;
  int input;
  AliasKind kind;
};

inline constexpr std::uint32_t kAllOperands = ~std::uint32_t{0};

/// Everything the graph knows about an operator. One constant per folder in kernels/.
struct OpSpec {
  std::string_view name;  ///< "layer_norm"
  std::string_view onnx;  ///< "LayerNormalization"; empty if ONNX has no such operator

  /// Checks attributes and input types and gives the types of the outputs, saved ones last. Formats are all plain.
  /// Throws    InvalidArgument whose text names what was expected and what was found.
  std::vector<TensorType> (*infer)(const Attributes& attributes, Types inputs);

  int saved_outputs =
      0;  ///< how many trailing outputs exist for the backward kernel only; an operator
          ///< that infers no more than these (in inference) saves none
  std::uint32_t optional_inputs = 0;  ///< bit i: input i may be missing
  std::uint32_t differentiable =
      0;  ///< bit i: input i can have a gradient; 0: the operator has no backward
  std::uint32_t parameter_inputs =
      ~1u;  ///< bit i: input i may be a parameter: its gradient honours adds_to(i)
  std::uint32_t needs_inputs = 0;   ///< bit i: backward reads input i
  std::uint32_t needs_outputs = 0;  ///< bit i: backward reads output i (saved ones included)
  /// The same where it depends on attributes: these bits count in addition. See needed_outputs().
  std::uint32_t (*needs_outputs_of)(const Attributes& attributes) = nullptr;
  LayoutRule layout = LayoutRule::kPlain;
  std::span<const AliasRule> aliases = {};
  /// The same for the backward kernel: output is dx of an input, input counts in the backward kernel's own list.
  std::uint32_t dx_may_overwrite_dy =
      0;                  ///< bit i: the gradient of input i may overwrite that of output 0
  bool random = false;    ///< reads OpContext::random
  bool f32_only = false;  ///< the pass lower_precision leaves it in f32 (losses)
  /// Bit i: where input i is a parameter, lower_precision hands in its bf16 copy. The gradient stays f32.
  std::uint32_t low_precision_weights = 0;
  bool collective =
      false;  ///< the executor sums output 0 over the ranks after the kernel: RunOptions::collective

  /// Of the forward pass. A gradient of an operand costs as much again.
  std::uint64_t (*flops)(const Attributes& attributes, Types inputs) = nullptr;
  /// Least bytes the forward pass must move; null: inputs and outputs once.
  std::uint64_t (*bytes_moved)(const Attributes& attributes, Types inputs) = nullptr;

  DeviceKernels cpu;
};

/// The outputs that the backward kernel of a node reads, by bits.
inline std::uint32_t needed_outputs(const OpSpec& op, const Attributes& attributes) {
  return op.needs_outputs | (op.needs_outputs_of != nullptr ? op.needs_outputs_of(attributes) : 0u);
}

/// Every operator of this build, in the order of kernels/CMakeLists.txt.
std::span<const OpSpec* const> all_operators() noexcept;

/// Throws    InvalidArgument that names the nearest operator if there is none of this name.
const OpSpec& find_operator(std::string_view name);

/// The kernels of an operator on a device.
/// Throws    Unsupported if the device has no forward kernel.
const DeviceKernels& kernels_for(const OpSpec& op, Device device);

/// Checks and runs one forward kernel: infer, compare with the types of `out`, prepare, run. For tests, benchmarks and
/// one-off calls; a plan prepares once and runs many times.
/// Throws    InvalidArgument, Unsupported.
void run_forward(const OpSpec& op, const Attributes& attributes, Inputs in, Outputs out,
                 Stream& stream, RandomState random = {});

/// The same for a backward kernel; operands as in Kernel.
void run_backward(const OpSpec& op, const Attributes& attributes, Inputs in, Outputs out,
                  Stream& stream, RandomState random = {}, std::uint32_t accumulate = 0);

}  // namespace phalanx
