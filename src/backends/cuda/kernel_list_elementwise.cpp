// Ordered kernel lists of ops that map elements or move rows.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {

std::span<const KernelEntry<Activation>> kernels(const Activation*) {
  static const KernelEntry<Activation> list[] = {
      {.name = "activation_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<GatedActivation>> kernels(const GatedActivation*) {
  static const KernelEntry<GatedActivation> list[] = {
      {.name = "gated_activation_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Add>> kernels(const Add*) {
  static const KernelEntry<Add> list[] = {
      {.name = "add_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Mul>> kernels(const Mul*) {
  static const KernelEntry<Mul> list[] = {
      {.name = "mul_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Scale>> kernels(const Scale*) {
  static const KernelEntry<Scale> list[] = {
      {.name = "scale_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Softcap>> kernels(const Softcap*) {
  static const KernelEntry<Softcap> list[] = {
      {.name = "softcap_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Concat>> kernels(const Concat*) {
  static const KernelEntry<Concat> list[] = {
      {.name = "concat_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Slice>> kernels(const Slice*) {
  static const KernelEntry<Slice> list[] = {
      {.name = "slice_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Cast>> kernels(const Cast*) {
  static const KernelEntry<Cast> list[] = {
      {.name = "cast_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<GatherRows>> kernels(const GatherRows*) {
  static const KernelEntry<GatherRows> list[] = {
      {.name = "gather_rows_plain", .reject = accept_all, .make = make_plain},
  };
  return list;
}

}  // namespace tenon::cuda
