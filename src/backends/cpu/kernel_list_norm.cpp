// Ordered kernel lists of Norm and AddNorm.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"
#include "backends/cpu/simd_kernels.h"

namespace tenon::cpu {

std::span<const KernelEntry<Norm>> kernels(const Norm*) {
  static const KernelEntry<Norm> list[] = {
      {.name = "norm_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>,
       .planned_bytes = float_weight_bytes},
      {.name = "norm_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>,
       .planned_bytes = float_weight_bytes},
      {.name = "norm_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_bytes = float_weight_bytes},
  };
  return list;
}

std::span<const KernelEntry<AddNorm>> kernels(const AddNorm*) {
  static const KernelEntry<AddNorm> list[] = {
      {.name = "add_norm_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>,
       .planned_bytes = float_weight_bytes},
      {.name = "add_norm_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>,
       .planned_bytes = float_weight_bytes},
      {.name = "add_norm_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_bytes = float_weight_bytes},
  };
  return list;
}

}  // namespace tenon::cpu
