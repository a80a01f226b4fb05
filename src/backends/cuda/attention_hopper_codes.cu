// Attention of context chunks over the paged cache with Hopper's warpgroup products: over 8 bits.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/attention_hopper_kernel.cuh"

namespace tenon::cuda {

void launch_attention_hopper_codes(const AttentionLaunch& l) {
  if (l.arguments.layer.dtype == DataType::kInt8)
    attention_hopper::run<Int8Code>(l);
  else
    attention_hopper::run<Float8Code>(l);
}

}  // namespace tenon::cuda
