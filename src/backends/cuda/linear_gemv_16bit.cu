// Streaming products with 16-bit matrices.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/gemv.cuh"

namespace tenon::cuda {

void launch_gemv_16bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  if (a.matrix.float_type == DataType::kFloat16)
    launch_form<GemvForm<CodeKind::k16Bit, __half>>(a, launch, stream);
  else
    launch_form<GemvForm<CodeKind::k16Bit, __nv_bfloat16>>(a, launch, stream);
}

}  // namespace tenon::cuda
