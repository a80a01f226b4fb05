// SPDX-License-Identifier: Apache-2.0
#include "ops/op_list.h"

namespace tenon {

const char* name_of(const Op& op) {
  return std::visit([](const auto& held) { return held.kName; }, op);
}

bool is_plain(const Op& op) {
  if (const auto* linear = std::get_if<Linear>(&op)) return linear->segments == 1;
  const bool from_pass =
      std::holds_alternative<AllReduce>(op) || std::holds_alternative<AllGather>(op) ||
      std::holds_alternative<Send>(op) || std::holds_alternative<Receive>(op) ||
      std::holds_alternative<AddNorm>(op) || std::holds_alternative<GatedLinear>(op) ||
      std::holds_alternative<RopeCacheWrite>(op);
  return !from_pass;
}

std::vector<ValueType> infer_output_types(const Op& op, std::span<const ValueType> inputs,
                                          std::span<const Shape> weights) {
  return std::visit([&](const auto& held) { return infer_types(held, inputs, weights); }, op);
}

}  // namespace tenon
