// SPDX-License-Identifier: Apache-2.0
// Convolutions by cuDNN's graphs: its engines give dw in f32 from bf16, and add the bias, which its older calls do not.
#include <cudnn.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "common/conv_vendor.hpp"
#include "core/error.hpp"
#include "device/cuda/libraries.hpp"

namespace phalanx {
namespace {

/// Why a graph is not served; no error, for there are kernels of ours.
struct Refused {};

void expect(cudnnStatus_t status) {
  if (status != CUDNN_STATUS_SUCCESS) throw Refused();
}

struct Destroy {
  void operator()(void* descriptor) const noexcept {
    (void)cudnnBackendDestroyDescriptor(descriptor);
  }
};

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    cudnnBackendDescriptor_t made = nullptr;
    expect(cudnnBackendCreateDescriptor(type, &made));
    handle_.reset(made);
  }

  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  std::span<const T> values) {
    expect(cudnnBackendSetAttribute(handle_.get(), name, type,
                                    static_cast<std::int64_t>(values.size()), values.data()));
    return *this;
  }
  template <class T>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, T value) {
    return set(name, type, std::span<const T>(&value, 1));
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.get());
  }
  Descriptor& finalize() {
    expect(cudnnBackendFinalize(handle_.get()));
    return *this;
  }

  template <class T>
  T value(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    T found{};
    std::int64_t count = 0;
    expect(cudnnBackendGetAttribute(handle_.get(), name, type, 1, &count, &found));
    return found;
  }
  cudnnBackendDescriptor_t get() const noexcept { return handle_.get(); }

 private:
  std::unique_ptr<void, Destroy> handle_;
};

enum Operand : std::int64_t { kFirst = 1, kSecond, kResult, kBias, kBetween };
using Sizes = std::array<std::int64_t, 4>;

Descriptor tensor(Operand id, cudnnDataType_t type, const Sizes& sizes, const Sizes& strides,
                  bool is_virtual = false) {
  constexpr std::int64_t kAlignment = 16;  // of operands, in bytes
  Descriptor t(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  t.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, static_cast<std::int64_t>(id))
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::span<const std::int64_t>(sizes))
      .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::span<const std::int64_t>(strides))
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, is_virtual)
      .finalize();
  return t;
}

cudnnDataType_t type_of(const ConvShape& s) {
  return s.type == DType::kBf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}
Descriptor image(Operand id, const ConvShape& s, const ConvImage& i, cudnnDataType_t type,
                 bool is_virtual = false) {
  return tensor(id, type, {s.images, i.channels, i.height, i.width},
                {i.image_stride, 1, i.row_stride, i.pixel_stride}, is_virtual);
}
Descriptor weights(Operand id, const ConvShape& s, cudnnDataType_t type) {
  const std::int64_t c = s.c_of_group(), r = s.h.kernel, k = s.w.kernel;
  return tensor(id, type, {s.y.channels, c, r, k}, {c * r * k, 1, k * c, c});
}

Descriptor window(const ConvShape& s) {
  using Pair = std::array<std::int64_t, 2>;
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto set = [&](cudnnBackendAttributeName_t name, const Pair& pair) {
    d.set(name, CUDNN_TYPE_INT64, std::span<const std::int64_t>(pair));
  };
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {s.h.stride, s.w.stride});
  set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {s.h.dilation, s.w.dilation});
  set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {s.h.pad, s.w.pad});
  set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {s.h.pad_end, s.w.pad_end});
  d.finalize();
  return d;
}

/// The names that one of the three convolutions gives to its operands.
struct Names {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t window, first, second, result, alpha, beta;
};
Names names_of(ConvPart part) {
  switch (part) {
    case ConvPart::kForward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvPart::kBackwardX:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvPart::kBackwardW: break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

/// The operations of a part, and what they are made of.
class Graph {
 public:
  Graph(const ConvShape& s, ConvPart part, bool has_bias, cudnnHandle_t handle) {
    const cudnnDataType_t type = type_of(s);
    const Names names = names_of(part);
    const Descriptor& conv = keep(window(s));
    const Descriptor& first =
        keep(image(kFirst, s, part == ConvPart::kBackwardX ? s.y : s.x, type));
    const Descriptor& second = keep(part == ConvPart::kBackwardW ? image(kSecond, s, s.y, type)
                                                                 : weights(kSecond, s, type));
    const Descriptor& result =
        keep(part == ConvPart::kForward     ? image(kResult, s, s.y, type)
             : part == ConvPart::kBackwardX ? image(kResult, s, s.x, type)
                                            : weights(kResult, s, CUDNN_DATA_FLOAT));
    const Descriptor& product =
        has_bias ? keep(image(kBetween, s, s.y, CUDNN_DATA_FLOAT, true)) : result;
    std::vector<cudnnBackendDescriptor_t> operations;
    operations.push_back(keep(Descriptor(names.operation))
                             .set(names.window, conv)
                             .set(names.first, first)
                             .set(names.second, second)
                             .set(names.result, product)
                             .set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f)
                             .set(names.beta, CUDNN_TYPE_FLOAT, 0.0f)
                             .finalize()
                             .get());
    if (has_bias) {
      const std::int64_t channels = s.y.channels;
      const Descriptor& bias = keep(
          tensor(kBias, CUDNN_DATA_FLOAT, {1, channels, 1, 1}, {channels, 1, channels, channels}));
      const Descriptor& sum =
          keep(Descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR))
              .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, CUDNN_POINTWISE_ADD)
              .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
              .finalize();
      operations.push_back(keep(Descriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR))
                               .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, sum)
                               .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, product)
                               .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias)
                               .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, result)
                               .finalize()
                               .get());
    }
    keep(Descriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR))
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
             std::span<const cudnnBackendDescriptor_t>(operations))
        .set(kGraphHandle, CUDNN_TYPE_HANDLE, handle)
        .finalize();
  }
  const Descriptor& get() const noexcept { return *parts_.back(); }

 private:
// The device's properties, which are to replace the handle, came with 9.7 only.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  static constexpr auto kGraphHandle = CUDNN_ATTR_OPERATIONGRAPH_HANDLE;
#pragma GCC diagnostic pop

  Descriptor& keep(Descriptor&& part) {
    return *parts_.emplace_back(std::make_unique<Descriptor>(std::move(part)));
  }

  std::vector<std::unique_ptr<Descriptor>> parts_;
};

/// Whether equal inputs give equal bits, and sums are as exact as docs/numerics.md wants them.
bool is_wanted(const Descriptor& configuration, const ConvShape& s) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t at = engine.get();
  std::int64_t count = 0;
  expect(cudnnBackendGetAttribute(configuration.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &at));
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  expect(cudnnBackendGetAttribute(engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                  CUDNN_TYPE_NUMERICAL_NOTE,
                                  static_cast<std::int64_t>(notes.size()), &count, notes.data()));
  for (const cudnnBackendNumericalNote_t note :
       std::span(notes).first(static_cast<std::size_t>(count))) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_FFT:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD: return false;
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        if (s.type == DType::kF32 && !s.tf32) return false;
        break;
      default: break;
    }
  }
  return true;
}

class Plan final : public ConvVendor {
 public:
  Plan(std::shared_ptr<const Graph> graph, Descriptor configuration, cudnnHandle_t handle)
      : graph_(std::move(graph)),
        configuration_(std::move(configuration)),
        plan_(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    plan_.set(kPlanHandle, CUDNN_TYPE_HANDLE, handle)
        .set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration_)
        .finalize();
    workspace_bytes_ = static_cast<std::size_t>(
        plan_.value<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64));
  }
  std::size_t workspace_bytes() const noexcept override { return workspace_bytes_; }

  void run(const void* first, const void* second, const float* bias, void* result,
           std::byte* workspace, BackendStream& stream) override {
    const Pointers pointers{const_cast<void*>(first), const_cast<void*>(second), result,
                            const_cast<float*>(bias), workspace};
    try {
      if (!pack_ || packed_ != pointers) pack(pointers);
    } catch (const Refused&) {
      throw DeviceError("conv: cuDNN did not take its operands");
    }
    stream.note("conv by cuDNN");
    const cudnnStatus_t status = cudnnBackendExecute(cuda_libraries(*stream.backend).cudnn(stream),
                                                     plan_.get(), pack_->get());
    if (status != CUDNN_STATUS_SUCCESS)
      throw DeviceError(
          fmt::format("conv: cudnnBackendExecute failed: {}", cudnnGetErrorString(status)));
  }

 private:
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"  // as that of a graph
  static constexpr auto kPlanHandle = CUDNN_ATTR_EXECUTION_PLAN_HANDLE;
#pragma GCC diagnostic pop
  using Pointers = std::array<void*, 5>;  // the last is the workspace

  void pack(const Pointers& pointers) {
    const bool has_bias = pointers[kBias - 1] != nullptr;
    constexpr std::array<std::int64_t, 4> ids{kFirst, kSecond, kResult, kBias};
    const std::size_t count = has_bias ? 4 : 3;
    pack_.reset();
    auto made = std::make_unique<Descriptor>(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    made->set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
              std::span<const std::int64_t>(ids).first(count))
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             std::span<void* const>(pointers).first(count))
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, pointers.back())
        .finalize();
    pack_ = std::move(made);
    packed_ = pointers;
  }

  std::shared_ptr<const Graph> graph_;
  Descriptor configuration_, plan_;
  std::size_t workspace_bytes_ = 0;
  std::unique_ptr<Descriptor> pack_;  // of the operands of the last run
  Pointers packed_{};
};

/// What a heuristic of cuDNN proposes, best first.
std::vector<Descriptor> proposals(const Graph& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.get())
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode)
      .finalize();
  std::int64_t count = 0;
  expect(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr));
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> places;
  for (std::int64_t i = 0; i < count; ++i)
    places.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  expect(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, places.data()));
  found.erase(found.begin() + count, found.end());
  return found;
}

}  // namespace

std::vector<std::unique_ptr<ConvVendor>> make_conv_vendors(const ConvShape& s, ConvPart part,
                                                           bool has_bias, std::size_t most,
                                                           const Device& device) {
  constexpr std::size_t kMostWorkspaceBytes = std::size_t{1} << 30;
  std::vector<std::unique_ptr<ConvVendor>> found;
  if (!s.x.is_channels_last() || !s.y.is_channels_last()) return found;
  cudnnHandle_t handle = cuda_libraries(*device.backend).cudnn_for_plans(device.index);
  try {
    const auto graph = std::make_shared<const Graph>(s, part, has_bias, handle);
    for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      for (Descriptor& configuration : proposals(*graph, mode)) {
        if (found.size() == most) return found;
        try {
          if (!is_wanted(configuration, s)) continue;
          auto plan = std::make_unique<Plan>(graph, std::move(configuration), handle);
          if (plan->workspace_bytes() <= kMostWorkspaceBytes) found.push_back(std::move(plan));
        } catch (const Refused&) {  // proposed, but not for this device after all
        }
      }
      if (!found.empty()) return found;
    }
  } catch (const Refused&) {  // what is found so far is all
  }
  return found;
}

}  // namespace phalanx
