// Tensor maps of a cache layer, for the bulk copies of Hopper.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "backends/cuda/device/cache_layer.h"

namespace tenon::cuda {

/// Of the layer's keys or values, [blocks * kv_heads][block_tokens][head_dim]. A box has all tokens
/// of one block and head: of 16 bits 64 elements each, swizzled to rows of 128 bytes; of 8 bits the
/// whole rows, one after the other.
CUtensorMap map_of_cache(const CacheLayer& layer, void* data);

}  // namespace tenon::cuda
