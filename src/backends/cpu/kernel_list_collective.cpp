// Ordered kernel lists of the collectives.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {

std::span<const KernelEntry<AllReduce>> kernels(const AllReduce*) {
  static const KernelEntry<AllReduce> list[] = {
      {.name = "all_reduce", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<AllGather>> kernels(const AllGather*) {
  static const KernelEntry<AllGather> list[] = {
      {.name = "all_gather", .reject = accept_all, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Send>> kernels(const Send*) {
  static const KernelEntry<Send> list[] = {
      {.name = "send", .reject = accept_all, .make = make_reference},
  };
  return list;
}

std::span<const KernelEntry<Receive>> kernels(const Receive*) {
  static const KernelEntry<Receive> list[] = {
      {.name = "receive", .reject = accept_all, .make = make_reference},
  };
  return list;
}

}  // namespace tenon::cpu
