// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_cache_map.h"

#include "backends/cuda/cuda_api.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

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

CUtensorMap map_of_cache(const CacheLayer& layer, void* data) {
  CUtensorMap map;
  const auto width = static_cast<cuuint64_t>(layer.head_dim);
  const auto tokens = static_cast<cuuint64_t>(layer.block_tokens);
  const cuuint64_t extents[3] = {
      width, tokens,
      static_cast<cuuint64_t>(layer.blocks) * static_cast<cuuint64_t>(layer.kv_heads)};
  const cuuint64_t strides[2] = {width * 2, width * tokens * 2};
  const cuuint32_t box[3] = {64, static_cast<cuuint32_t>(layer.block_tokens), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult code =
      encode_tiled()(&map,
                     layer.dtype == DataType::kFloat16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                       : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                     3, data, extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                     CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                     CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  TENON_CHECK(code == CUDA_SUCCESS, ErrorCode::kInternal,
              "[cuda] a map of the cache (head_dim {}, {} tokens a block): driver error {}",
              layer.head_dim, layer.block_tokens, static_cast<int>(code));
  return map;
}

}  // namespace tenon::cuda
