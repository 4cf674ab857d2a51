// SPDX-License-Identifier: Apache-2.0
// An emulated GPU has no maker, and so no library of its maker. With PHALANX_EMULATED_LIBRARY=1 our own kernels, cut in another
// way, stand for one: for tests of what is said about the two beside each other.
#include <cstdlib>

#include "common/gemm_own.hpp"
#include "common/gemm_vendor.hpp"

namespace phalanx {
namespace {

class Pretended final : public GemmVendor {
 public:
  explicit Pretended(const GemmProblem& problem) : own_(problem, own_tilings(problem, 1).back()) {}
  std::size_t workspace_bytes() const noexcept override { return own_.workspace_bytes(); }
  void run(const char* name, const GemmOperands& operands, std::byte* workspace,
           BackendStream& stream) override {
    own_.run(name, operands, workspace, stream);
    stream.note("by cuBLASLt");
  }

 private:
  GemmOwn own_;
};

}  // namespace

std::vector<std::unique_ptr<GemmVendor>> vendor_gemms(const GemmProblem& problem, Device) {
  std::vector<std::unique_ptr<GemmVendor>> offers;
  if (std::getenv("PHALANX_EMULATED_LIBRARY") != nullptr)
    offers.push_back(std::make_unique<Pretended>(problem));
  return offers;
}

}  // namespace phalanx
