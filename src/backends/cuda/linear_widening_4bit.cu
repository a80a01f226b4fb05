// Widening products with matrices of 4-bit codes.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/linear_widening.cuh"

namespace tenon::cuda {

void launch_widening_4bit(const WideningArguments& a, const WideningMaps& maps,
                          const WideningPlan& plan, cudaStream_t stream) {
  const PackedMatrix& m = a.linear.matrix;
  if (m.step == ScaleStep::kRow)
    launch_widening_widths<CodeKind::kInt4, GroupScale::kNone>(a, maps, plan, stream);
  else if (m.scale_type == DataType::kBFloat16)
    launch_widening_widths<CodeKind::kInt4, GroupScale::kBFloat16>(a, maps, plan, stream);
  else
    launch_widening_widths<CodeKind::kInt4, GroupScale::kSplit>(a, maps, plan, stream);
}

}  // namespace tenon::cuda
