// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"

namespace phalanx {

/// Where one parameter or state lies in its arena.
struct ParameterSlot {
  std::string name;
  Shape shape;
  std::int64_t offset = 0;  ///< in elements, a multiple of 16
  Initializer init;
};

/// The order of all parameters in one f32 arena, and of all states in another. Depends on the graph alone, so it is the
/// same on every rank and for every batch size.
class ParameterLayout {
 public:
  /// With a differentiated graph the parameters stand in the order in which their gradients become final, so that a
  /// gradient bucket is a slice; otherwise in the order of the graph.
  explicit ParameterLayout(const Graph& graph);

  const std::vector<ParameterSlot>& parameters() const noexcept { return parameters_; }
  const std::vector<ParameterSlot>& states() const noexcept { return states_; }
  std::int64_t parameter_elements() const noexcept {
    return parameter_elements_;
  }  ///< with padding
  std::int64_t state_elements() const noexcept { return state_elements_; }
  /// Throws    InvalidArgument if there is none of this name.
  const ParameterSlot& parameter(std::string_view name) const;
  const ParameterSlot& state(std::string_view name) const;

 private:
  std::vector<ParameterSlot> parameters_, states_;
  std::int64_t parameter_elements_ = 0, state_elements_ = 0;
};

/// Fills an array from its initializer with draws that depend on (seed, name, element) only.
void initialise_array(const ParameterSlot& slot, std::uint64_t seed, float* to);

/// The parameters and states of one model: two contiguous f32 arenas. Padding is zero and stays zero.
class ParameterSet {
 public:
  /// The stream outlives the set. `memory`: for the parameters, layout.parameter_elements() f32 that outlive the set; null for
  /// memory of its own.
  ParameterSet(ParameterLayout layout, Stream& stream, std::byte* memory = nullptr);

  const ParameterLayout& layout() const noexcept { return layout_; }
  /// Fills every parameter and state from its Initializer with draws that depend on (seed, name, element) only.
  void initialise(std::uint64_t seed);
  TensorView parameters() const noexcept;  ///< the whole arena, [elements]
  TensorView states() const noexcept;
  TensorView parameter(std::string_view name) const;
  TensorView state(std::string_view name) const;

  /// From now on there is a copy of all parameters in bf16, for kernels that read weights in low precision.
  void keep_copies(Stream& stream);
  TensorView copies() const noexcept;  ///< bf16 [elements]; null without keep_copies
  /// Rounds the parameters into the copies, unless these are of that version already. See OpContext::parameter_version.
  void refresh_copies(std::uint64_t version, Stream& stream);
  /// What kernels made of the parameters: OpContext::packed.
  PackedParameters& packed() noexcept { return packed_; }
  /// Whoever wrote both, as optimizers do in one pass, says so.
  void set_copies_version(std::uint64_t version) noexcept { copies_version_ = version; }

 private:
  ParameterLayout layout_;
  Stream& stream_;
  Tensor own_parameters_, states_, copies_;
  TensorView parameters_;
  std::optional<std::uint64_t> copies_version_;
  PackedParameters packed_;
};

}  // namespace phalanx
