// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_choice.h"

#include <algorithm>

#include "backends/kernel_report.h"

namespace tenon::cuda {
namespace {

// The 16-bit kinds stand for each other: which of them a value has follows from the model's own
// weights (storage.h).
bool precise_enough(DataType activation, const KernelPolicy& policy) {
  return precision_rank(activation) >= precision_rank(policy.activation);
}

template <class OpT>
ChosenKernel choose_from_list(const OpT& op, const ProgramDescription& program,
                              std::span<const DataType> storage, const ProgramNode& node,
                              const DeviceFeatures& features) {
  const NodeView view = view_of(program, storage, node);
  ChosenKernel out;
  for (const KernelEntry<OpT>& entry : kernels(static_cast<const OpT*>(nullptr))) {
    std::string reason =
        reject_by_policy(program.policy, entry.activation,
                         precise_enough(entry.activation, program.policy), entry.row_invariant);
    if (reason.empty()) reason = entry.reject(op, view, features);
    if (!reason.empty()) {
      out.choice.rejected.emplace_back(entry.name, std::move(reason));
      continue;
    }
    out.choice.kernel = entry.name;
    out.choice.activation = entry.activation;
    out.choice.row_invariant = entry.row_invariant;
    out.recordable = entry.recordable;
    if (entry.needs != nullptr) out.needs = entry.needs(op, view);
    if (entry.planned_workspace != nullptr)
      out.planned_workspace = entry.planned_workspace(op, view, program.limits);
    out.make = [&op, view, make = entry.make](Weights weights, LoadContext& load) {
      return make(op, view, std::move(weights), load);
    };
    return out;
  }
  fail_unserved("CUDA", program, node, out.choice);
}

}  // namespace

NodeView view_of(const ProgramDescription& program, std::span<const DataType> storage,
                 const ProgramNode& node) {
  NodeView view;
  const auto type_of = [&](int value) {
    ValueType type = program.values.at(static_cast<std::size_t>(value)).type;
    if (type.kind == ValueKind::kTensor) type.dtype = storage[static_cast<std::size_t>(value)];
    return type;
  };
  for (const int value : node.inputs) view.inputs.push_back(type_of(value));
  for (const int value : node.outputs) view.outputs.push_back(type_of(value));
  for (const int weight : node.weights)
    view.weights.push_back(program.weights.at(static_cast<std::size_t>(weight)));
  if (const auto* attention = std::get_if<Attention>(&node.op);
      attention != nullptr && attention->source == AttentionSource::kPagedCache)
    for (const CacheGroupDescription& group : program.cache)
      if (std::find(group.layers.begin(), group.layers.end(), attention->cache_layer) !=
          group.layers.end())
        view.cache = group;
  return view;
}

ChosenKernel choose_kernel(const ProgramDescription& program, std::span<const DataType> storage,
                           const ProgramNode& node, const DeviceFeatures& features) {
  return std::visit(
      [&](const auto& op) { return choose_from_list(op, program, storage, node, features); },
      node.op);
}

}  // namespace tenon::cuda
