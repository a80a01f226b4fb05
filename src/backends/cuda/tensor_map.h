// Tensor maps: what Hopper's copy engine knows of an array in device memory whose boxes it copies.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace tenon::cuda {

struct TensorMapAxis {
  std::int64_t extent = 1;
  std::int64_t stride = 0;  ///< bytes; a multiple of 16. Of the first axis: not asked for
  std::int64_t box = 1;     ///< elements, at most 256
};

/// Axes from the innermost on, at most five. Rows of a box have at most `swizzle`'s bytes. `what`
/// names the array where the driver refuses it.
CUtensorMap make_tensor_map(CUtensorMapDataType type, CUtensorMapSwizzle swizzle, const void* data,
                            std::span<const TensorMapAxis> axes, std::string_view what);

}  // namespace tenon::cuda
