// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernel_choice.h"

#include <algorithm>

#include "core/check.h"
#include "core/log.h"

namespace tenon::cpu {
namespace {

// Smaller is coarser. float16 and bfloat16 differ in what they lose; neither stands for the other.
int precision(DataType type) {
  switch (type) {
    case DataType::kFloat32: return 3;
    case DataType::kFloat16: return 2;
    case DataType::kBFloat16: return 2;
    default: return 1;
  }
}

bool precise_enough(DataType activation, const KernelPolicy& policy) {
  return activation == policy.activation || precision(activation) > precision(policy.activation);
}

std::string reject_by_policy(DataType activation, bool row_invariant, const KernelPolicy& policy) {
  if (!precise_enough(activation, policy))
    return fmt::format("rounds activations to {}; allowed: {}", to_string(activation),
                       to_string(policy.activation));
  if (policy.deterministic && !row_invariant)
    return "a row depends on the batch; deterministic mode admits only row-invariant kernels";
  return {};
}

template <class OpT>
ChosenKernel choose_from_list(const OpT& op, const ProgramDescription& program,
                              const ProgramNode& node, const CpuFeatures& features, int threads) {
  const NodeView view = view_of(program, node);
  ChosenKernel out;
  for (const KernelEntry<OpT>& entry : kernels(static_cast<const OpT*>(nullptr))) {
    std::string reason = reject_by_policy(entry.activation, entry.row_invariant, program.policy);
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
  std::string reasons;
  for (const auto& [kernel, reason] : out.choice.rejected)
    reasons += fmt::format("\n  {}: {}", kernel, reason);
  fail(ErrorCode::kUnsupported, "[{}] no CPU kernel serves {} of program {}:{}", OpT::kName,
       describe(node.op), program.name, reasons);
}

std::string describe_node(const ProgramDescription& program, const ProgramNode& node) {
  std::string text = name_of(node.op);
  for (const int input : node.inputs)
    text += " " + to_string(program.values[static_cast<std::size_t>(input)].type);
  for (const int weight : node.weights) {
    const WeightUse& use = program.weights[static_cast<std::size_t>(weight)];
    text += fmt::format(" x {} {}", to_string(use.shape), to_string(use.spec));
  }
  return text;
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

void log_choices(const ProgramDescription& program, std::span<const KernelChoice> choices) {
  if (!log::enabled("dispatch")) return;
  std::vector<std::pair<std::string, int>> lines;  // in the order of their first appearance
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const KernelChoice& choice = choices[i];
    std::string line =
        fmt::format("{}: {}", describe_node(program, program.nodes[i]), choice.kernel);
    if (choice.activation != DataType::kFloat32)
      line += fmt::format(" (activations {})", to_string(choice.activation));
    for (const auto& [kernel, reason] : choice.rejected)
      line += fmt::format("; not {}: {}", kernel, reason);
    const auto known = std::find_if(lines.begin(), lines.end(),
                                    [&](const auto& entry) { return entry.first == line; });
    if (known == lines.end())
      lines.emplace_back(std::move(line), 1);
    else
      ++known->second;
  }
  for (const auto& [line, count] : lines)
    log::note("dispatch", "{} {} x {}", program.name, count, line);
}

}  // namespace tenon::cpu
