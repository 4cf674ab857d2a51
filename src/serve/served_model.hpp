// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/transforms.hpp"
#include "models/load.hpp"
#include "serve/manifest.hpp"

namespace phalanx {

/// Batch sizes that are planned for a model of at most `most` rows, ascending: 1, 2, 3, 4, 6, 8, 12, 16, 24, ..., most. A batch
/// runs in the next larger one, so at most a third of it is empty.
std::vector<std::int64_t> planned_batch_sizes(std::int64_t most);

/// One version of a model in the memory of one rank, planned and warm.
class ServedModel {
 public:
  /// A request's rows where they lie, and where the answers go.
  struct Part {
    const std::byte* input =
        nullptr;              ///< f32 or u8 [rows, ...sample], in the units of the data set
    float* output = nullptr;  ///< f32 [rows, outputs]
    std::int64_t rows = 0;
    bool is_u8 = false;
  };
  struct Times {
    std::uint64_t input_ns = 0, infer_ns = 0, output_ns = 0;
  };

  /// Loads what the manifest names from the folder of the version, with a stream of its own: models are loaded beside others
  /// that run.
  /// Throws    InvalidInput if a digest is not the manifest's, or the weights are of another model than it describes; IoError.
  static std::unique_ptr<ServedModel> load(const Manifest& manifest, const std::string& folder,
                                           std::int64_t max_batch_size, Device device);
  /// Takes a network that is in memory already; the stream is the network's, and outlives the model. Makes all plans and runs
  /// each once.
  ServedModel(const Manifest& manifest, LoadedModel loaded, std::int64_t max_batch_size,
              Stream& stream);

  /// Answers of all parts, at most max_batch_size rows together.
  /// Throws    what a kernel throws.
  Times run(std::span<const Part> parts);

  std::size_t memory_bytes() const noexcept;
  /// Of one row as a client sends it.
  std::size_t sample_bytes(bool is_u8) const noexcept {
    return static_cast<std::size_t>(sample_numel_) * (is_u8 ? 1 : sizeof(float));
  }
  /// Values of one answer.
  std::size_t output_numel() const noexcept {
    return static_cast<std::size_t>(record_.model.outputs);
  }

 private:
  void plan(std::int64_t max_batch_size);
  void prepare_row(const std::byte* from, bool is_u8, float* to);
  ConstTensorView on_device(const TensorType& type);

  std::unique_ptr<Stream> own_stream_;
  Stream& stream_;
  RunRecord record_;
  std::unique_ptr<Network> network_;
  std::vector<std::int64_t> sizes_;
  Transform transform_;                   // of samples as training read them
  std::unique_ptr<Transform> of_floats_;  // images whose values are no whole numbers
  std::int64_t sample_numel_;
  std::vector<std::uint8_t> bytes_;
  HostTensor x_;
  Buffer x_on_device_;
  HostTensor logits_;
};

}  // namespace phalanx
