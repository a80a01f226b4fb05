// Streaming products with matrices of 4-bit codes.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/gemv.cuh"

namespace tenon::cuda {
namespace {

template <ScaleStep kStep, bool kWide, bool kMinimum>
using Form4 = GemvForm<CodeKind::kInt4, __nv_bfloat16, kStep, kWide, kMinimum>;

template <ScaleStep kStep, bool kMinimum>
void launch_grouped(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  if (a.matrix.scale_type == DataType::kFloat32)
    launch_form<Form4<kStep, true, kMinimum>>(a, launch, stream);
  else
    launch_form<Form4<kStep, false, kMinimum>>(a, launch, stream);
}

}  // namespace

void launch_gemv_4bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  const bool minimum = a.matrix.minimum != nullptr;
  if (a.matrix.step == ScaleStep::kRow)
    launch_form<Form4<ScaleStep::kRow, true, false>>(a, launch, stream);
  else if (a.matrix.step == ScaleStep::kLine && minimum)
    launch_grouped<ScaleStep::kLine, true>(a, launch, stream);
  else if (a.matrix.step == ScaleStep::kLine)
    launch_grouped<ScaleStep::kLine, false>(a, launch, stream);
  else if (minimum)
    launch_grouped<ScaleStep::kRun, true>(a, launch, stream);
  else
    launch_grouped<ScaleStep::kRun, false>(a, launch, stream);
}

}  // namespace tenon::cuda
