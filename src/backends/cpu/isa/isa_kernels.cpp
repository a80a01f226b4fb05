// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/isa/isa_kernels.h"

namespace tenon::cpu {

const IsaKernels* isa_kernels(const CpuFeatures& features) {
  if (features.isa >= Isa::kAvx512) return &avx512_kernels();
  if (features.isa >= Isa::kAvx2) return &avx2_kernels();
  return nullptr;
}

}  // namespace tenon::cpu
