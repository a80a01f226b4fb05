// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernel_choice.h"

#include "backends/kernel_report.h"

namespace tenon::cpu {
namespace {

// float16 and bfloat16 differ in what they lose; neither stands for the other.
bool precise_enough(DataType activation, const KernelPolicy& policy) {
  return activation == policy.activation ||
         precision_rank(activation) > precision_rank(policy.activation);
}

template <class OpT>
ChosenKernel choose_from_list(const OpT& op, const ProgramDescription& program,
                              const ProgramNode& node, const CpuFeatures& features, int threads) {
  const NodeView view = view_of(program, node);
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
    if (entry.planned_bytes != nullptr) out.planned_bytes = entry.planned_bytes(op, view);
    if (entry.planned_workspace != nullptr)
      out.planned_workspace = entry.planned_workspace(op, view, program.limits, threads);
    out.make = [&op, view, make = entry.make](std::vector<QuantizedTensor> weights,
                                              ThreadPool& pool) {
      return make(op, view, std::move(weights), pool);
    };
    return out;
  }
  fail_unserved("CPU", program, node, out.choice);
}

}  // namespace

NodeView view_of(const ProgramDescription& program, const ProgramNode& node) {
  NodeView view;
  for (const int value : node.inputs)
    view.inputs.push_back(program.values.at(static_cast<std::size_t>(value)).type);
  for (const int value : node.outputs)
    view.outputs.push_back(program.values.at(static_cast<std::size_t>(value)).type);
  for (const int weight : node.weights)
    view.weights.push_back(program.weights.at(static_cast<std::size_t>(weight)));
  return view;
}

ChosenKernel choose_kernel(const ProgramDescription& program, const ProgramNode& node,
                           const CpuFeatures& features, int threads) {
  return std::visit(
      [&](const auto& op) { return choose_from_list(op, program, node, features, threads); },
      node.op);
}

}  // namespace tenon::cpu
