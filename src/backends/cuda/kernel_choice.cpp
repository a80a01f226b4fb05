// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/kernel_choice.h"

#include <algorithm>

#include "core/check.h"
#include "core/log.h"

namespace tenon::cuda {
namespace {

// Smaller is coarser. The 16-bit kinds stand for each other: which of them a value has follows from
// the model's own weights (storage.h).
int precision(DataType type) {
  switch (type) {
    case DataType::kFloat32: return 3;
    case DataType::kFloat16: return 2;
    case DataType::kBFloat16: return 2;
    default: return 1;
  }
}

std::string reject_by_policy(DataType activation, bool row_invariant, const KernelPolicy& policy) {
  if (precision(activation) < precision(policy.activation))
    return fmt::format("rounds activations to {}; allowed: {}", to_string(activation),
                       to_string(policy.activation));
  if (policy.deterministic && !row_invariant)
    return "a row depends on the batch; deterministic mode admits only row-invariant kernels";
  return {};
}

template <class OpT>
ChosenKernel choose_from_list(const OpT& op, const ProgramDescription& program,
                              std::span<const DataType> storage, const ProgramNode& node,
                              const DeviceFeatures& features) {
  const NodeView view = view_of(program, storage, node);
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
    out.recordable = entry.recordable;
    if (entry.needs != nullptr) out.needs = entry.needs(op, view);
    if (entry.planned_workspace != nullptr)
      out.planned_workspace = entry.planned_workspace(op, view, program.limits);
    out.make = [&op, view, make = entry.make](Weights weights, LoadContext& load) {
      return make(op, view, std::move(weights), load);
    };
    return out;
  }
  std::string reasons;
  for (const auto& [kernel, reason] : out.choice.rejected)
    reasons += fmt::format("\n  {}: {}", kernel, reason);
  fail(ErrorCode::kUnsupported, "[{}] no CUDA kernel serves {} of program {}:{}", OpT::kName,
       describe(node.op), program.name, reasons);
}

std::string describe_node(const ProgramDescription& program, std::span<const DataType> storage,
                          const ProgramNode& node) {
  std::string text = name_of(node.op);
  for (const int input : node.inputs) {
    const auto at = static_cast<std::size_t>(input);
    ValueType type = program.values[at].type;
    type.dtype = storage[at];
    text += " " + to_string(type);
  }
  for (const int weight : node.weights) {
    const WeightUse& use = program.weights[static_cast<std::size_t>(weight)];
    text += fmt::format(" x {} {}", to_string(use.shape), to_string(use.spec));
  }
  return text;
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

void log_choices(const ProgramDescription& program, std::span<const DataType> storage,
                 std::span<const KernelChoice> choices) {
  if (!log::enabled("dispatch")) return;
  std::vector<std::pair<std::string, int>> lines;  // in the order of their first appearance
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const KernelChoice& choice = choices[i];
    std::string line =
        fmt::format("{}: {}", describe_node(program, storage, program.nodes[i]), choice.kernel);
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

}  // namespace tenon::cuda
