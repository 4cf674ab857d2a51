// SPDX-License-Identifier: Apache-2.0
#include "formats/checkpoint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "core/log.hpp"
#include "core/text.hpp"
#include "formats/atomic_file.hpp"
#include "formats/h5.hpp"
#include "formats/seal.hpp"
#include "formats/sha256.hpp"

namespace phalanx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "phalanx.checkpoint";
constexpr std::int64_t kVersion = 1;
constexpr std::int64_t kMaxRunBytes = std::int64_t{64} << 20;
constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

std::span<const std::byte> bytes_of(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

/// One call of HDF5 holds its lock: in pieces, so that a thread that reads samples need not wait for the whole array.
void write_in_pieces(h5::Dataset& dataset, const void* data) {
  const auto row_bytes = static_cast<std::int64_t>(dataset.row_bytes());
  const std::int64_t rows =
      std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(row_bytes, 1));
  for (std::int64_t begin = 0; begin < dataset.rows(); begin += rows)
    dataset.write_rows(begin, std::min(begin + rows, dataset.rows()),
                       static_cast<const std::byte*>(data) + begin * row_bytes);
}

void write_dataset(h5::File& file, const std::string& path, DType dtype, const Shape& shape,
                   const void* data) {
  const std::size_t size = static_cast<std::size_t>(shape.numel()) * size_bytes(dtype);
  h5::Dataset dataset = file.create_dataset(path, dtype, shape);
  write_in_pieces(dataset, data);
  dataset.write_attribute("sha256", sha256_hex(bytes_of(data, size)));
}

void verify(const h5::Dataset& dataset, std::span<const std::byte> bytes) {
  const std::string expected = dataset.string_attribute("sha256"), found = sha256_hex(bytes);
  if (expected != found)
    throw InvalidInput(fmt::format("{}: {} is damaged: its SHA-256 is {}, expected {}",
                                   dataset.file_name(), dataset.path(), found.substr(0, 16),
                                   expected.substr(0, 16)));
}

void read_group(const h5::Group& group, const std::string& prefix,
                std::vector<Checkpoint::Array>& arrays) {
  for (const std::string& name : group.names()) {
    const std::string path = prefix + "/" + name;
    if (prefix == "/optimizer") {  // one more level: /optimizer/<slot>/<parameter>
      read_group(group.open_group(name), path, arrays);
      continue;
    }
    const h5::Dataset dataset = group.open_dataset(name);
    arrays.push_back({path, dataset.shape(), dataset.read_vector<float>()});
    verify(dataset, std::as_bytes(std::span(arrays.back().values)));
  }
}

}  // namespace

void write_checkpoint(const std::string& path, const std::string& run,
                      const std::vector<CheckpointEntry>& entries) {
  AtomicFile atomic(path);
  {
    h5::File file = h5::File::create(atomic.temporary_path(), nullptr, kSealBytes);
    file.write_attribute("format", kFormat);
    file.write_attribute("version", kVersion);
    for (const char* group : {"parameters", "states", "optimizer"}) file.create_group(group);
    std::vector<std::string> slots;
    for (const CheckpointEntry& entry : entries) {
      require(entry.data.type.dtype == DType::kF32 && entry.data.type.channel_block == 1,
              "checkpoints hold plain f32");
      const std::string slot = entry.path.substr(0, entry.path.rfind('/'));
      if (slot.starts_with("/optimizer/") &&
          std::find(slots.begin(), slots.end(), slot) == slots.end()) {
        file.create_group(slot.substr(1));
        slots.push_back(slot);
      }
      write_dataset(file, entry.path.substr(1), DType::kF32, entry.data.shape(), entry.data.data);
    }
    write_dataset(file, "run", DType::kU8, Shape{static_cast<std::int64_t>(run.size())},
                  run.data());
    file.close();
  }
  seal_file(atomic.temporary_path());
  atomic.commit();
}

Checkpoint Checkpoint::read(const std::string& path) {
  verify_seal(path);
  const h5::File file = h5::File::open(path);
  if (!file.has_attribute("format") || file.string_attribute("format") != kFormat)
    throw InvalidInput(fmt::format("{}: not a Phalanx checkpoint (attribute 'format' is not '{}')",
                                   path, kFormat));
  if (const std::int64_t version = file.int_attribute("version"); version != kVersion)
    throw InvalidInput(
        fmt::format("{}: checkpoint version {}, this program reads {}", path, version, kVersion));
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  const h5::Dataset run = file.open_dataset("run");
  if (run.rows() > kMaxRunBytes)
    throw InvalidInput(fmt::format("{}: /run has {} bytes", path, run.rows()));
  const auto text = run.read_vector<std::uint8_t>();
  verify(run, std::as_bytes(std::span(text)));
  checkpoint.run_.assign(text.begin(), text.end());
  for (const char* group : {"parameters", "states", "optimizer"})
    read_group(file.open_group(group), std::string("/") + group, checkpoint.arrays_);
  return checkpoint;
}

bool Checkpoint::has(const std::string& entry) const noexcept {
  return std::any_of(arrays_.begin(), arrays_.end(),
                     [&](const Array& a) { return a.path == entry; });
}

void Checkpoint::load(const std::string& entry, TensorView to) const {
  for (const Array& a : arrays_) {
    if (a.path != entry) continue;
    if (!(a.shape == to.shape()))
      throw InvalidInput(fmt::format(
          "{}: {} has the shape {}, the model needs {}: it is a checkpoint of another model", path_,
          entry, a.shape.str(), to.shape().str()));
    if (!a.values.empty()) std::memcpy(to.data, a.values.data(), to.type.size_bytes());
    return;
  }
  throw InvalidInput(
      fmt::format("{}: there is no {}: it is a checkpoint of another model", path_, entry));
}

std::string CheckpointFolder::path_of_step(std::int64_t step) const {
  return fmt::format("{}/step_{:09}.h5", folder_, step);
}
std::string CheckpointFolder::best_path() const { return folder_ + "/best.h5"; }

std::vector<std::pair<std::int64_t, std::string>> CheckpointFolder::list() const {
  std::vector<std::pair<std::int64_t, std::string>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step_") || !name.ends_with(".h5")) continue;
    try {
      found.emplace_back(parse_int(std::string_view(name).substr(5, name.size() - 8)),
                         entry.path().string());
    } catch (const InvalidInput&) {
      continue;  // not one of ours
    }
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::optional<Checkpoint> CheckpointFolder::newest() const {
  const auto files = list();
  for (const auto& [step, path] : files) {
    try {
      return Checkpoint::read(path);
    } catch (const Error& e) {
      log_warning("passing over a checkpoint that is not whole: {}", e.what());
    }
  }
  if (!files.empty())
    throw InvalidInput(fmt::format("{}: none of {} checkpoints is whole; remove them to start anew",
                                   folder_, files.size()));
  return std::nullopt;
}

void CheckpointFolder::prune(std::int64_t keep, std::int64_t step) const {
  std::vector<std::string> superfluous;
  for (const auto& [at, path] : list())
    if (at <= step && --keep < 0) superfluous.push_back(path);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error))
    if (entry.path().filename().string().find(".h5.tmp-") != std::string::npos)
      superfluous.push_back(entry.path().string());
  for (const std::string& path : superfluous) {
    fs::remove(path, error);
    if (error) log_warning("cannot remove {}: {}", path, error.message());
  }
}

}  // namespace phalanx
