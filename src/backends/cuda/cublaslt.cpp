// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cublaslt.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <span>

#include "core/check.h"
#include "core/hash.h"

namespace tenon::cuda {
namespace {

// Where the toolkit's installer puts libraries when the loader does not know of them.
constexpr const char* kNames[] = {"libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13",
                                  "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so.12"};

constexpr std::size_t kMaxPlans = 4096;

// Since when the library takes vectors of scales, as get_version() says it; and the compute
// capability that has kernels of them.
constexpr std::size_t kScaledSince = 120900;
constexpr int kScaledCapability = 90;

// What an algorithm is asked for with: where scales will lie is not known by then, only that they
// lie at 16 bytes.
alignas(16) constexpr float kSomeScales[4] = {1.F, 1.F, 1.F, 1.F};

template <class Function>
void resolve(void* library, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr && missing.empty()) missing = fmt::format("it lacks {}", name);
}

CublasLtLibrary open_library() {
  CublasLtLibrary out;
  void* library = nullptr;
  for (const char* name : kNames)
    if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    out.missing = "libcublasLt.so.13 is not where the loader looks (LD_LIBRARY_PATH)";
    return out;
  }
  resolve(library, "cublasLtCreate", out.create, out.missing);
  resolve(library, "cublasLtDestroy", out.destroy, out.missing);
  resolve(library, "cublasLtGetVersion", out.get_version, out.missing);
  resolve(library, "cublasLtMatmulDescCreate", out.desc_create, out.missing);
  resolve(library, "cublasLtMatmulDescDestroy", out.desc_destroy, out.missing);
  resolve(library, "cublasLtMatmulDescSetAttribute", out.desc_set, out.missing);
  resolve(library, "cublasLtMatrixLayoutCreate", out.layout_create, out.missing);
  resolve(library, "cublasLtMatrixLayoutDestroy", out.layout_destroy, out.missing);
  resolve(library, "cublasLtMatmulPreferenceCreate", out.preference_create, out.missing);
  resolve(library, "cublasLtMatmulPreferenceDestroy", out.preference_destroy, out.missing);
  resolve(library, "cublasLtMatmulPreferenceSetAttribute", out.preference_set, out.missing);
  resolve(library, "cublasLtMatmulAlgoGetHeuristic", out.heuristic, out.missing);
  resolve(library, "cublasLtMatmul", out.matmul, out.missing);
  if (!out.missing.empty()) return out;
  const std::size_t version = out.get_version();
  // 13.1.0 is 130100; 12.x had the same form.
  out.version =
      fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
  return out;
}

void check_blas(cublasStatus_t status, const char* what) {
  TENON_CHECK(
      status == CUBLAS_STATUS_SUCCESS,
      status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorCode::kResourceExhausted : ErrorCode::kInternal,
      "[cublaslt] {}: status {}", what, static_cast<int>(status));
}

cudaDataType_t type_of(DataType type) {
  switch (type) {
    case DataType::kFloat16: return CUDA_R_16F;
    case DataType::kBFloat16: return CUDA_R_16BF;
    case DataType::kFloat32: return CUDA_R_32F;
    case DataType::kFloat8E4M3: return CUDA_R_8F_E4M3;
    default: fail(ErrorCode::kInternal, "[cublaslt] no matmul of {}", to_string(type));
  }
}

bool set_scales(cublasLtMatmulDesc_t operation, const float* x, const float* w) {
  const CublasLtLibrary& lt = cublaslt_library();
  const auto set = [&](cublasLtMatmulDescAttributes_t which, const float* scales) {
    return lt.desc_set(operation, which, &scales, sizeof(scales)) == CUBLAS_STATUS_SUCCESS;
  };
  return set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, w) &&
         set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, x);
}

// A scale for each row of w and for each of x.
bool set_scale_modes(cublasLtMatmulDesc_t operation) {
#if CUBLAS_VERSION >= 120900
  const CublasLtLibrary& lt = cublaslt_library();
  const std::int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  for (const auto which : {CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_DESC_B_SCALE_MODE})
    if (lt.desc_set(operation, which, &mode, sizeof(mode)) != CUBLAS_STATUS_SUCCESS) return false;
  return set_scales(operation, kSomeScales, kSomeScales);
#else
  (void)operation;
  return false;
#endif
}

/// Of the configuration, which the library says may be kept as bytes.
std::uint64_t hash_of(const cublasLtMatmulAlgo_t& algorithm) {
  const std::uint64_t hash = hash64(std::as_bytes(std::span(algorithm.data)));
  return hash == 0 ? 1 : hash;
}

}  // namespace

const CublasLtLibrary& cublaslt_library() {
  static const CublasLtLibrary library = open_library();
  return library;
}

CublasLt::CublasLt(std::byte* workspace) : workspace_(workspace) {
  check_blas(cublaslt_library().create(&handle_), "make a handle");
}

CublasLt::~CublasLt() {
  for (const auto& [key, plan] : plans_) destroy(plan);
  if (handle_ != nullptr) cublaslt_library().destroy(handle_);
}

void CublasLt::destroy(const Plan& plan) {
  const CublasLtLibrary& lt = cublaslt_library();
  if (plan.operation != nullptr) lt.desc_destroy(plan.operation);
  for (cublasLtMatrixLayout_t layout : {plan.w, plan.x, plan.y})
    if (layout != nullptr) lt.layout_destroy(layout);
}

// The library thinks in columns: y^T[out, rows] = (w^T)^T x^T.
bool CublasLt::describe(Plan& out, const MatmulShape& shape) {
  const CublasLtLibrary& lt = cublaslt_library();
  check_blas(lt.desc_create(&out.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check_blas(
      lt.desc_set(out.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
      "transpose");
  const auto in = static_cast<std::uint64_t>(shape.in);
  const auto rows = static_cast<std::uint64_t>(shape.rows);
  const auto width = static_cast<std::uint64_t>(shape.out);
  const cudaDataType_t input = type_of(shape.input);
  check_blas(lt.layout_create(&out.w, input, in, width, shape.in), "layout of w");
  check_blas(lt.layout_create(&out.x, input, in, rows, shape.in), "layout of x");
  check_blas(lt.layout_create(&out.y, type_of(shape.output), width, rows, shape.y_stride),
             "layout of y");
  return !shape.scaled || set_scale_modes(out.operation);
}

std::string CublasLt::scaled_missing(DataType output, int capability) {
  const CublasLtLibrary& library = cublaslt_library();
  if (capability != kScaledCapability)
    return "fp8 products with a scale a row are for compute capability 9.0 alone";
  if (library.get_version() < kScaledSince)
    return library.version + " has no fp8 products with a scale a row: 12.9 or later is needed";
  MatmulShape shape{DataType::kFloat8E4M3, output, 17, 128, 256, 128};  // any number of rows
  shape.scaled = true;
  if (algorithms(shape, 1).empty())
    return fmt::format("{} proposes no fp8 product with a scale a row to {}", library.version,
                       to_string(output));
  return {};
}

std::vector<cublasLtMatmulAlgo_t> CublasLt::propose(const Plan& plan, int most) {
  const CublasLtLibrary& lt = cublaslt_library();
  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(lt.preference_create(&preference), "preference");
  const auto bytes = static_cast<std::size_t>(kWorkspaceBytes);
  // Values lie at multiples of 64 bytes; a weight that is a part of a packed one at its rows.
  for (const auto which :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    const std::uint32_t alignment = 16;
    lt.preference_set(preference, which, &alignment, sizeof(alignment));
  }
  lt.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes));
  std::array<cublasLtMatmulHeuristicResult_t, kProposals> results{};
  int found = 0;
  const cublasStatus_t status =
      lt.heuristic(handle_, plan.operation, plan.w, plan.x, plan.y, plan.y, preference,
                   std::min(most, kProposals), results.data(), &found);
  lt.preference_destroy(preference);
  std::vector<cublasLtMatmulAlgo_t> out;
  for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < found; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= bytes)
      out.push_back(result.algo);
  }
  return out;
}

std::vector<std::uint64_t> CublasLt::algorithms(const MatmulShape& shape, int most) {
  Plan plan;
  std::vector<std::uint64_t> out;
  try {
    if (describe(plan, shape))
      for (const cublasLtMatmulAlgo_t& algorithm : propose(plan, most))
        out.push_back(hash_of(algorithm));
  } catch (...) {
    destroy(plan);
    throw;
  }
  destroy(plan);
  return out;
}

const CublasLt::Plan& CublasLt::plan(const MatmulShape& shape, std::uint64_t algorithm) {
  const Key key(shape.key(), algorithm);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second;
  if (plans_.size() >= kMaxPlans) {  // chunks of context have any number of rows
    for (const auto& [old, plan] : plans_) destroy(plan);
    plans_.clear();
  }
  // Entered at once, so that what is made so far is destroyed with the rest if something throws.
  Plan& out = plans_[key];
  try {
    std::vector<cublasLtMatmulAlgo_t> proposed;
    if (describe(out, shape)) proposed = propose(out, algorithm == 0 ? 1 : kProposals);
    TENON_CHECK(!proposed.empty(), ErrorCode::kInternal,
                "[cublaslt] no algorithm for {} x {} x {} in {}{} to {}", shape.rows, shape.out,
                shape.in, to_string(shape.input), shape.scaled ? ", scaled," : "",
                to_string(shape.output));
    const auto wanted =
        std::find_if(proposed.begin(), proposed.end(),
                     [&](const cublasLtMatmulAlgo_t& one) { return hash_of(one) == algorithm; });
    out.algorithm = wanted == proposed.end() ? proposed.front() : *wanted;
  } catch (...) {
    destroy(out);
    plans_.erase(key);
    throw;
  }
  return out;
}

void CublasLt::matmul(const MatmulShape& shape, const void* x, const void* w, void* y,
                      cudaStream_t stream, std::uint64_t algorithm, const MatmulScales& scales) {
  if (shape.rows == 0 || shape.out == 0) return;
  TENON_ASSERT(shape.scaled == (scales.x != nullptr) && shape.scaled == (scales.w != nullptr));
  const Plan& p = plan(shape, algorithm);
  if (shape.scaled)  // plans are shared by all who have the shape
    TENON_CHECK(set_scales(p.operation, scales.x, scales.w), ErrorCode::kInternal,
                "[cublaslt] the library takes no scales");
  const float one = 1.F;
  const float zero = 0.F;
  check_blas(cublaslt_library().matmul(handle_, p.operation, &one, w, p.w, x, p.x, &zero, y, p.y, y,
                                       p.y, &p.algorithm, workspace_,
                                       static_cast<std::size_t>(kWorkspaceBytes), stream),
             "matmul");
}

}  // namespace tenon::cuda
