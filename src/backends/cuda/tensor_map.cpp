// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/tensor_map.h"

#include "backends/cuda/cuda_api.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::size_t kMostAxes = 5;

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                                 const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                 const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's function, found through the runtime: no program links the driver.
EncodeTiled encode_tiled() {
  static const EncodeTiled function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                           cudaEnableDefault, &result),
          "find cuTensorMapEncodeTiled");
    TENON_CHECK(found != nullptr, ErrorCode::kUnsupported,
                "[cuda] the driver has no cuTensorMapEncodeTiled: it is older than CUDA 12.0");
    return reinterpret_cast<EncodeTiled>(found);
  }();
  return function;
}

}  // namespace

CUtensorMap make_tensor_map(CUtensorMapDataType type, CUtensorMapSwizzle swizzle, const void* data,
                            std::span<const TensorMapAxis> axes, std::string_view what) {
  TENON_ASSERT(!axes.empty() && axes.size() <= kMostAxes);
  cuuint64_t extents[kMostAxes] = {};
  cuuint64_t strides[kMostAxes] = {};  // of all but the first
  cuuint32_t box[kMostAxes] = {};
  const cuuint32_t steps[kMostAxes] = {1, 1, 1, 1, 1};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    extents[i] = static_cast<cuuint64_t>(axes[i].extent);
    box[i] = static_cast<cuuint32_t>(axes[i].box);
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(axes[i].stride);
  }
  CUtensorMap map;
  const CUresult code =
      encode_tiled()(&map, type, static_cast<cuuint32_t>(axes.size()), const_cast<void*>(data),
                     extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  TENON_CHECK(code == CUDA_SUCCESS, ErrorCode::kInternal, "[cuda] a map of {}: driver error {}",
              what, static_cast<int>(code));
  return map;
}

}  // namespace tenon::cuda
