// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"
#include "device/backend.hpp"
#include "op/op.hpp"

namespace phalanx {
namespace {

void run(const DeviceKernels& kernels, bool forward, const Attributes& attributes, Inputs in,
         Outputs out, Stream& stream, RandomState random, std::uint32_t accumulate) {
  const Prepare prepare = forward ? kernels.prepare_forward : kernels.prepare_backward;
  std::unique_ptr<OpState> state;
  if (prepare != nullptr) {
    std::vector<TensorType> in_types, out_types;
    auto present = std::make_unique<bool[]>(in.size() + out.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
      in_types.push_back(in[i].type);
      present[i] = static_cast<bool>(in[i]);
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      out_types.push_back(out[i].type);
      present[in.size() + i] = static_cast<bool>(out[i]);
    }
    state = prepare({attributes,
                     in_types,
                     out_types,
                     {present.get(), in.size()},
                     {present.get() + in.size(), out.size()},
                     stream.device()});
  }
  const Buffer workspace(state ? state->workspace_bytes() : 0, stream);
  OpContext ctx{stream,      attributes, {workspace.data(), workspace.size_bytes()},
                state.get(), random,     accumulate};
  (forward ? kernels.forward : kernels.backward)(ctx, in, out);
}

}  // namespace

const OpSpec& find_operator(std::string_view name) {
  std::vector<std::string> names;
  for (const OpSpec* op : all_operators()) {
    if (op->name == name) return *op;
    names.emplace_back(op->name);
  }
  throw InvalidArgument(
      fmt::format("no operator is called '{}'; the nearest is '{}'", name, nearest(name, names)));
}

const DeviceKernels& kernels_for(const OpSpec& op, Device device) {
  const auto* kernels = &op.cpu;
  if (device.kind != DeviceKind::kCpu)
    kernels = device.backend == nullptr
                  ? nullptr
                  : static_cast<const DeviceKernels*>(device.backend->kernels(op.name));
  if (kernels == nullptr || kernels->forward == nullptr)
    throw Unsupported(fmt::format("operator '{}' has no kernel on {}", op.name, name(device.kind)));
  return *kernels;
}

void run_forward(const OpSpec& op, const Attributes& attributes, Inputs in, Outputs out,
                 Stream& stream, RandomState random) {
  const DeviceKernels& kernels = kernels_for(op, stream.device());
  std::vector<TensorType> types;
  for (const ConstTensorView& v : in) types.push_back(v.type);
  const std::vector<TensorType> expected = op.infer(attributes, types);
  require(expected.size() == out.size(), "an operator was run with the wrong number of outputs");
  for (std::size_t i = 0; i < out.size(); ++i)
    if (expected[i].dtype != out[i].type.dtype || !(expected[i].shape == out[i].shape()))
      throw InvalidArgument(fmt::format("{}: output {} must be {}, found {}", op.name, i,
                                        expected[i].str(), out[i].type.str()));
  run(kernels, true, attributes, in, out, stream, random, 0);
}

void run_backward(const OpSpec& op, const Attributes& attributes, Inputs in, Outputs out,
                  Stream& stream, RandomState random, std::uint32_t accumulate) {
  const DeviceKernels& kernels = kernels_for(op, stream.device());
  if (kernels.backward == nullptr)
    throw Unsupported(fmt::format("operator '{}' has no backward kernel", op.name));
  run(kernels, false, attributes, in, out, stream, random, accumulate);
}

}  // namespace phalanx
