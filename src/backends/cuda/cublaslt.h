// cuBLASLt, opened at run time: the binary does not need it to start. Where it is missing, own
// kernels serve, and the features say why.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cublasLt.h>

#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "backends/cuda/cuda_api.h"
#include "tenon/types.h"

namespace tenon::cuda {

/// The functions used, as the library gives them; null where `missing` says why.
struct CublasLtLibrary {
  std::string missing;  ///< empty: it is there
  std::string version;  ///< "cuBLASLt 13.1.0"
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
};

/// Looks for libcublasLt.so.13 (then .12) once.
const CublasLtLibrary& cublaslt_library();

/// y[rows, out] = x[rows, in] w[out, in]^T, all row-major, fp32 accumulation. x and w have one
/// type; y is that type or float32 (of float8_e4m3: float32 or, where scaled, bfloat16; `in` and
/// `out` are multiples of 16).
struct MatmulShape {
  DataType input = DataType::kBFloat16;
  DataType output = DataType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t out = 0;
  std::int64_t in = 0;
  std::int64_t y_stride = 0;  ///< elements from one row of y to the next
  bool scaled = false;        ///< float8_e4m3 alone: the product takes MatmulScales
  auto key() const { return std::tuple(input, output, rows, out, in, y_stride, scaled); }
};

/// Where a product is scaled: y[r, o] is also times x[r] and w[o], before it is rounded. Vectors on
/// the device that begin at 16 bytes.
struct MatmulScales {
  const float* x = nullptr;  ///< [rows]
  const float* w = nullptr;  ///< [out]
};

/// A handle with its workspace and the plans made so far. Used by one thread at a time.
class CublasLt {
 public:
  static constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;

  /// `workspace`: kWorkspaceBytes of device memory, used by no other stream.
  explicit CublasLt(std::byte* workspace);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  /// Why there are no scaled products into `output` (bfloat16 or float32) on a device of this
  /// compute capability (90: 9.0); empty: there are.
  std::string scaled_missing(DataType output, int capability);

  /// Algorithms that the library proposes for the shape, its first choice first, at most `most`: a
  /// hash of each one's configuration, never 0. Empty where it has none.
  std::vector<std::uint64_t> algorithms(const MatmulShape& shape, int most);

  /// `algorithm`: one of algorithms(). Where the library proposes it no more for this very shape,
  /// and for 0, its first choice. `scales`: where the shape is scaled.
  void matmul(const MatmulShape& shape, const void* x, const void* w, void* y, cudaStream_t stream,
              std::uint64_t algorithm = 0, const MatmulScales& scales = {});

  /// As many as a search looks at.
  static constexpr int kProposals = 6;

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t w = nullptr;
    cublasLtMatrixLayout_t x = nullptr;
    cublasLtMatrixLayout_t y = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  const Plan& plan(const MatmulShape& shape, std::uint64_t algorithm);
  /// False: the library does not know what the shape asks for.
  bool describe(Plan& plan, const MatmulShape& shape);
  std::vector<cublasLtMatmulAlgo_t> propose(const Plan& plan, int most);
  void destroy(const Plan& plan);

  using Key = std::pair<decltype(MatmulShape{}.key()), std::uint64_t>;
  cublasLtHandle_t handle_ = nullptr;
  std::byte* workspace_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace tenon::cuda
