// Tensor maps of a cache layer, for the bulk copies of Hopper.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "backends/cuda/device/cache_layer.h"

namespace tenon::cuda {

/// Of the layer's keys or values, in 16 bits: [blocks * kv_heads][block_tokens][head_dim], in boxes
/// of 64 elements (swizzled to 128-byte rows) of all tokens of one block and head.
CUtensorMap map_of_cache(const CacheLayer& layer, void* data);

}  // namespace tenon::cuda
