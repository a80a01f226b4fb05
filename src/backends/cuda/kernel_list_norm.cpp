// Ordered kernel lists of Norm and AddNorm.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_weight.h"
#include "backends/cuda/fused_kernels.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

template <class OpT>
std::vector<PackedNeed> gain_and_bias(const OpT& op, const NodeView& node) {
  std::vector<PackedNeed> needs = {float_need(node.weights[0], op.weight_offset)};
  if (op.has_bias) needs.push_back(float_need(node.weights[1]));
  return needs;
}

}  // namespace

std::span<const KernelEntry<Norm>> kernels(const Norm*) {
  static const KernelEntry<Norm> list[] = {
      {.name = "norm_row",
       .reject = reject_row_norm,
       .make = make_row_norm,
       .needs = gain_and_bias},
      {.name = "norm_plain", .reject = accept_all, .make = make_plain, .needs = gain_and_bias},
  };
  return list;
}

std::span<const KernelEntry<AddNorm>> kernels(const AddNorm*) {
  static const KernelEntry<AddNorm> list[] = {
      {.name = "add_norm_row",
       .reject = reject_row_norm,
       .make = make_row_norm,
       .needs = gain_and_bias},
      {.name = "add_norm_plain", .reject = accept_all, .make = make_plain, .needs = gain_and_bias},
  };
  return list;
}

}  // namespace tenon::cuda
