// Streaming products with matrices of fp8 numbers or 8-bit codes.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/gemv.cuh"

namespace tenon::cuda {
namespace {

template <ScaleStep kStep, bool kWide>
using Form8 = GemvForm<CodeKind::kInt8, __nv_bfloat16, kStep, kWide>;

}  // namespace

void launch_gemv_8bit(const GemvArguments& a, const GemvLaunch& launch, cudaStream_t stream) {
  const bool wide = a.matrix.scale_type == DataType::kFloat32;
  if (a.matrix.kind == CodeKind::kFloat8)
    launch_form<GemvForm<CodeKind::kFloat8, __nv_bfloat16>>(a, launch, stream);
  else if (a.matrix.step == ScaleStep::kRow)
    launch_form<Form8<ScaleStep::kRow, true>>(a, launch, stream);
  else if (a.matrix.step == ScaleStep::kLine && wide)
    launch_form<Form8<ScaleStep::kLine, true>>(a, launch, stream);
  else if (a.matrix.step == ScaleStep::kLine)
    launch_form<Form8<ScaleStep::kLine, false>>(a, launch, stream);
  else if (wide)
    launch_form<Form8<ScaleStep::kRun, true>>(a, launch, stream);
  else
    launch_form<Form8<ScaleStep::kRun, false>>(a, launch, stream);
}

}  // namespace tenon::cuda
