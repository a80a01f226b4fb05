// Ordered kernel lists of the collectives.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {

std::span<const KernelEntry<AllReduce>> kernels(const AllReduce*) {
  static const KernelEntry<AllReduce> list[] = {
      {.name = "all_reduce_host", .recordable = false, .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<AllGather>> kernels(const AllGather*) {
  static const KernelEntry<AllGather> list[] = {
      {.name = "all_gather_host", .recordable = false, .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Send>> kernels(const Send*) {
  static const KernelEntry<Send> list[] = {
      {.name = "send_host", .recordable = false, .reject = accept_all, .make = make_plain},
  };
  return list;
}

std::span<const KernelEntry<Receive>> kernels(const Receive*) {
  static const KernelEntry<Receive> list[] = {
      {.name = "receive_host", .recordable = false, .reject = accept_all, .make = make_plain},
  };
  return list;
}

}  // namespace tenon::cuda
