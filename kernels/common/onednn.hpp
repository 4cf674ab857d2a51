// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <vector>

#include "op/op.hpp"

namespace phalanx {

inline const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

inline dnnl::memory::data_type to_dnnl(DType t) {
  switch (t) {
    case DType::kF32: return dnnl::memory::data_type::f32;
    case DType::kBf16: return dnnl::memory::data_type::bf16;
    case DType::kI32: return dnnl::memory::data_type::s32;
    case DType::kU8: return dnnl::memory::data_type::u8;
    case DType::kI64: break;
  }
  throw Unsupported("oneDNN has no 64-bit integers");
}

/// The memory descriptor of a tensor: row-major, or an image batch with its channel block.
inline dnnl::memory::desc to_dnnl(const TensorType& type) {
  const auto sizes = type.shape.sizes();
  dnnl::memory::dims dims(sizes.begin(), sizes.end());
  if (dims.empty()) dims = {1};
  using tag = dnnl::memory::format_tag;
  if (type.channel_block == 16 && type.shape[1] != 16)
    return {dims, to_dnnl(type.dtype), tag::nChw16c};
  if (type.channel_block == 8 && type.shape[1] != 8)
    return {dims, to_dnnl(type.dtype), tag::nChw8c};
  if (type.channel_block != 1) {
    require(type.channel_block == type.shape[1],
            "oneDNN knows the channel blocks 8, 16 and all channels");
    return {dims, to_dnnl(type.dtype), tag::nhwc};
  }
  dnnl::memory::dims strides(dims.size());
  std::int64_t stride = 1;
  for (std::size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<std::int64_t>(dims[i], 1);
  }
  return {dims, to_dnnl(type.dtype), strides};
}

/// Attributes of every primitive of ours: scratch memory comes from the plan's workspace.
inline dnnl::primitive_attr dnnl_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

/// One primitive with the memory objects of its arguments, made once; a run only sets addresses and allocates nothing
/// (the C++ interface of oneDNN would build a map on every call).
class DnnlCall {
 public:
  DnnlCall() = default;
  explicit DnnlCall(const dnnl::primitive& primitive)
      : primitive_(primitive), stream_(cpu_engine()) {}

  /// Adds an argument; addresses are given to run() in the order of these calls.
  void add(int argument, const dnnl::memory::desc& desc) {
    memories_.emplace_back(desc, cpu_engine(), static_cast<void*>(nullptr));
    arguments_.push_back({argument, memories_.back().get()});
  }
  void run(std::initializer_list<const void*> addresses) {
    std::size_t i = 0;
    for (const void* address : addresses)
      memories_[i++].set_data_handle(const_cast<void*>(address));
    const dnnl_status_t status = dnnl_primitive_execute(
        primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
    if (status != dnnl_success)
      throw DeviceError(fmt::format("oneDNN: status {}", static_cast<int>(status)));
  }
  explicit operator bool() const noexcept { return static_cast<bool>(primitive_); }

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// While it lives, oneDNN makes and runs primitives for one thread.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_;
};
template <class F>
auto on_one_thread(F f) {
  const OneThread one_thread;
  return f();
}

}  // namespace phalanx
