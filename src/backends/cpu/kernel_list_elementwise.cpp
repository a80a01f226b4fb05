// Ordered kernel lists of ops that map elements or move rows.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"
#include "backends/cpu/simd_kernels.h"

namespace tenon::cpu {

std::span<const KernelEntry<Activation>> kernels(const Activation*) {
  static const KernelEntry<Activation> list[] = {
      {.name = "activation_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>},
      {.name = "activation_avx2", .reject = needs<Isa::kAvx2>, .make = make_for<avx2_kernels>},
      {.name = "activation_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<GatedActivation>> kernels(const GatedActivation*) {
  static const KernelEntry<GatedActivation> list[] = {
      {.name = "gated_activation_avx512",
       .reject = needs<Isa::kAvx512>,
       .make = make_for<avx512_kernels>},
      {.name = "gated_activation_avx2",
       .reject = needs<Isa::kAvx2>,
       .make = make_for<avx2_kernels>},
      {.name = "gated_activation_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Add>> kernels(const Add*) {
  static const KernelEntry<Add> list[] = {
      {.name = "add_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Mul>> kernels(const Mul*) {
  static const KernelEntry<Mul> list[] = {
      {.name = "mul_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Scale>> kernels(const Scale*) {
  static const KernelEntry<Scale> list[] = {
      {.name = "scale_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Softcap>> kernels(const Softcap*) {
  static const KernelEntry<Softcap> list[] = {
      {.name = "softcap_avx512", .reject = needs<Isa::kAvx512>, .make = make_for<avx512_kernels>},
      {.name = "softcap_avx2", .reject = needs<Isa::kAvx2>, .make = make_for<avx2_kernels>},
      {.name = "softcap_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Concat>> kernels(const Concat*) {
  static const KernelEntry<Concat> list[] = {
      {.name = "concat_ref", .reject = accept_all, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Slice>> kernels(const Slice*) {
  static const KernelEntry<Slice> list[] = {
      {.name = "slice_ref", .reject = accept_all, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Cast>> kernels(const Cast*) {
  static const KernelEntry<Cast> list[] = {
      {.name = "cast_ref", .reject = accept_all, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<GatherRows>> kernels(const GatherRows*) {
  static const KernelEntry<GatherRows> list[] = {
      {.name = "gather_rows_ref", .reject = accept_all, .make = make_reference},
  };
  return list;
}

}  // namespace tenon::cpu
