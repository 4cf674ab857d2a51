// SPDX-License-Identifier: Apache-2.0
#include "common/gemm_vendor.hpp"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>

#include "device/buffer.hpp"
#include "device/cuda/libraries.hpp"

namespace phalanx {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(call) + " failed: " + cublasLtGetStatusString(status));
}

template <auto destroy>
struct Destroy {
  template <class T>
  void operator()(T* handle) const noexcept {
    (void)destroy(handle);
  }
};
using Operation = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>,
                                  Destroy<cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<std::remove_pointer_t<cublasLtMatrixLayout_t>,
                               Destroy<cublasLtMatrixLayoutDestroy>>;
using Preference = std::unique_ptr<std::remove_pointer_t<cublasLtMatmulPreference_t>,
                                   Destroy<cublasLtMatmulPreferenceDestroy>>;

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t what, const T& value) {
  check(cublasLtMatmulDescSetAttribute(operation, what, &value, sizeof value),
        "cublasLtMatmulDescSetAttribute");
}
template <class T>
void set(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t what, const T& value) {
  check(cublasLtMatrixLayoutSetAttribute(layout, what, &value, sizeof value),
        "cublasLtMatrixLayoutSetAttribute");
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t what,
         const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

cudaDataType_t type_of(DType type) { return type == DType::kBf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// How c takes part.
enum class Addend { kNone, kRow, kMatrix };

Addend addend_of(const GemmProblem& p) {
  if (!p.has_c) return Addend::kNone;
  return p.c_row == 0 ? Addend::kRow : Addend::kMatrix;
}

/// cuBLASLt adds a row without a factor, and a matrix of the type of d.
bool is_offered(const GemmProblem& p) {
  if (p.is_empty() || !p.has_product() || p.sums.used > 0 || p.batches.used > 1) return false;
  switch (addend_of(p)) {
    case Addend::kNone: return true;
    case Addend::kRow: return p.beta == 1 && (p.c_column == 1 || p.n == 1);
    case Addend::kMatrix: break;
  }
  return p.out_type == DType::kF32 && (p.c_column == 1 || p.n == 1) && p.batches.used == 0;
}

/// What several algorithms for one product share. cuBLASLt has columns where we have rows: it computes d^T = B^T A^T, so our
/// B is its A.
struct Product {
  GemmProblem problem;
  cublasLtHandle_t handle;
  Operation operation;
  Layout a, b, c, d;
};

Layout layout(DType type, std::int64_t rows, std::int64_t columns, std::int64_t stride,
              const GemmProblem& p, std::int64_t GemmAxis::*step) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type_of(type), static_cast<std::uint64_t>(rows),
                                   static_cast<std::uint64_t>(columns), stride),
        "cublasLtMatrixLayoutCreate");
  Layout layout(made);
  if (p.batches.used > 0) {
    set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
        static_cast<std::int32_t>(p.batches.axis[0].count));
    set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, p.batches.axis[0].*step);
  }
  return layout;
}

/// Of every matrix of an operand, in bytes.
std::uint32_t alignment(DType type, const GemmProblem& p, std::int64_t GemmAxis::*step) {
  constexpr std::size_t kOfOperands = 64;
  const auto bytes =
      p.batches.used > 0 ? static_cast<std::size_t>(p.batches.axis[0].*step) * size_bytes(type) : 0;
  return static_cast<std::uint32_t>(bytes == 0 ? kOfOperands
                                               : std::min(kOfOperands, bytes & -bytes));
}

std::shared_ptr<Product> describe(const GemmProblem& p, Device device) {
  auto product = std::make_shared<Product>();
  product->problem = p;
  product->handle = cuda_libraries(*device.backend).blas_lt(device.index);
  cublasLtMatmulDesc_t made = nullptr;
  check(cublasLtMatmulDescCreate(&made, p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                 CUDA_R_32F),
        "cublasLtMatmulDescCreate");
  product->operation.reset(made);
  set(made, CUBLASLT_MATMUL_DESC_TRANSA, p.b_along_k ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(made, CUBLASLT_MATMUL_DESC_TRANSB, p.a_along_k ? CUBLAS_OP_N : CUBLAS_OP_T);
  const bool adds_row = addend_of(p) == Addend::kRow;
  set(made, CUBLASLT_MATMUL_DESC_EPILOGUE,
      adds_row ? (p.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
               : (p.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT));
  product->a =
      layout(p.type, p.b_along_k ? p.k : p.n, p.b_along_k ? p.n : p.k, p.b_stride, p, &GemmAxis::b);
  product->b =
      layout(p.type, p.a_along_k ? p.k : p.m, p.a_along_k ? p.m : p.k, p.a_stride, p, &GemmAxis::a);
  const std::int64_t c_stride =
      addend_of(p) == Addend::kMatrix ? std::max(p.c_row, p.n) : p.d_stride;
  product->c = layout(p.out_type, p.n, p.m, c_stride, p, &GemmAxis::d);
  product->d = layout(p.out_type, p.n, p.m, p.d_stride, p, &GemmAxis::d);
  return product;
}

class Algorithm final : public GemmVendor {
 public:
  Algorithm(std::shared_ptr<Product> product, const cublasLtMatmulHeuristicResult_t& found)
      : product_(std::move(product)), algorithm_(found.algo), scratch_bytes_(found.workspaceSize) {
    const GemmProblem& p = product_->problem;
    if (addend_of(p) == Addend::kRow && p.out_type != DType::kF32)
      row_bytes_ = align_up(static_cast<std::size_t>(p.n) * size_bytes(p.out_type));
  }

  std::size_t workspace_bytes() const noexcept override { return row_bytes_ + scratch_bytes_; }

  void run(const char* name, const GemmOperands& operands, std::byte* workspace,
           BackendStream& stream) override {
    const GemmProblem& p = product_->problem;
    const Addend addend = addend_of(p);
    if (addend == Addend::kRow) {
      const void* row = operands.c;
      if (row_bytes_ > 0) {
        stream.backend->convert(DType::kF32, operands.c, p.out_type, workspace, p.n, &stream);
        row = workspace;
      }
      set(product_->operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, row);
    }
    stream.note(name);
    stream.note("by cuBLASLt");
    const bool adds_matrix = addend == Addend::kMatrix;
    const float beta = adds_matrix ? p.beta : operands.adds ? 1.0f : 0.0f;
    const void* c = adds_matrix ? operands.c : operands.d;
    check(cublasLtMatmul(product_->handle, product_->operation.get(), &p.alpha, operands.b,
                         product_->a.get(), operands.a, product_->b.get(), &beta, c,
                         product_->c.get(), operands.d, product_->d.get(), &algorithm_,
                         workspace + row_bytes_, scratch_bytes_,
                         static_cast<cudaStream_t>(stream.queue)),
          "cublasLtMatmul");
  }

 private:
  std::shared_ptr<Product> product_;
  cublasLtMatmulAlgo_t algorithm_;
  std::size_t scratch_bytes_;
  std::size_t row_bytes_ = 0;  // of c in the type of d, in front of the library's scratch
};

}  // namespace

std::vector<std::unique_ptr<GemmVendor>> vendor_gemms(const GemmProblem& p, Device device) {
  constexpr int kMost = 3;
  constexpr std::size_t kMostWorkspaceBytes = std::size_t{32} << 20;
  std::vector<std::unique_ptr<GemmVendor>> offers;
  if (!is_offered(p)) return offers;
  const std::shared_ptr<Product> product = describe(p, device);
  cublasLtMatmulPreference_t made = nullptr;
  check(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  const Preference preference(made);
  set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspaceBytes);
  // Parts of K meet in f32, not in d.
  set(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.type, p, &GemmAxis::b));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.type, p, &GemmAxis::a));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.out_type, p, &GemmAxis::d));
  set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.out_type, p, &GemmAxis::d));
  std::array<cublasLtMatmulHeuristicResult_t, kMost> found{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      product->handle, product->operation.get(), product->a.get(), product->b.get(),
      product->c.get(), product->d.get(), made, kMost, found.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return offers;
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  for (int i = 0; i < count; ++i)
    if (found[static_cast<std::size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
      offers.push_back(std::make_unique<Algorithm>(product, found[static_cast<std::size_t>(i)]));
  return offers;
}

}  // namespace phalanx
