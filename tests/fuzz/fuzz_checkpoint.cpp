// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "formats/checkpoint.hpp"
#include "fuzz.hpp"

namespace {

/// A file of this process; HDF5 reads from files only.
std::string scratch() {
  return (std::filesystem::temp_directory_path() /
          ("phalanx_fuzz_" + std::to_string(getpid()) + ".h5"))
      .string();
}

}  // namespace

// Damage inside HDF5's own structures is HDF5's to notice; what it lets through must be caught by the checksums.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::ofstream(scratch(), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  phalanx::expect_only_refusals([&] { phalanx::Checkpoint::read(scratch()); });
  std::filesystem::remove(scratch());
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  const std::vector<float> values(20, 1.5f);
  const phalanx::ConstTensorView view{values.data(), {phalanx::DType::kF32, phalanx::Shape{4, 5}}};
  phalanx::write_checkpoint(scratch(), "{}",
                            {{"/parameters/w", view}, {"/optimizer/momentum/w", view}});
  std::stringstream text;
  text << std::ifstream(scratch(), std::ios::binary).rdbuf();
  return {text.str()};
}
