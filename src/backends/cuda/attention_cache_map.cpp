// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_cache_map.h"

#include "backends/cuda/tensor_map.h"
#include "core/dtype.h"

namespace tenon::cuda {

CUtensorMap map_of_cache(const CacheLayer& layer, void* data) {
  const std::int64_t bytes = size_of(layer.dtype);
  const bool codes = bytes == 1;
  const std::int64_t width = layer.head_dim;
  const std::int64_t tokens = layer.block_tokens;
  const TensorMapAxis axes[] = {
      {.extent = width, .box = codes ? width : 64},
      {.extent = tokens, .stride = width * bytes, .box = tokens},
      {.extent = static_cast<std::int64_t>(layer.blocks) * layer.kv_heads,
       .stride = width * tokens * bytes},
  };
  const CUtensorMapDataType type = codes ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                   : layer.dtype == DataType::kFloat16
                                       ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                       : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  return make_tensor_map(type, codes ? CU_TENSOR_MAP_SWIZZLE_NONE : CU_TENSOR_MAP_SWIZZLE_128B,
                         data, axes, "the cache's keys or values");
}

}  // namespace tenon::cuda
