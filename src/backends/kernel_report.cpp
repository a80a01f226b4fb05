// SPDX-License-Identifier: Apache-2.0
#include "backends/kernel_report.h"

#include <algorithm>

#include "core/check.h"
#include "core/log.h"

namespace tenon {
namespace {

std::string describe_node(const ProgramDescription& program, const ProgramNode& node,
                          std::span<const DataType> storage) {
  std::string text = name_of(node.op);
  for (const int input : node.inputs) {
    const auto at = static_cast<std::size_t>(input);
    ValueType type = program.values[at].type;
    if (!storage.empty()) type.dtype = storage[at];
    text += " " + to_string(type);
  }
  for (const int weight : node.weights) {
    const WeightUse& use = program.weights[static_cast<std::size_t>(weight)];
    text += fmt::format(" x {} {}", to_string(use.shape), to_string(use.spec));
  }
  return text;
}

}  // namespace

int precision_rank(DataType type) {
  switch (type) {
    case DataType::kFloat32: return 3;
    case DataType::kFloat16: return 2;
    case DataType::kBFloat16: return 2;
    default: return 1;
  }
}

std::string reject_by_policy(const KernelPolicy& policy, DataType activation, bool precise_enough,
                             bool row_invariant) {
  if (!precise_enough)
    return fmt::format("rounds activations to {}; allowed: {}", to_string(activation),
                       to_string(policy.activation));
  if (policy.deterministic && !row_invariant)
    return "a row depends on the batch; deterministic mode admits only row-invariant kernels";
  return {};
}

void fail_unserved(std::string_view backend, const ProgramDescription& program,
                   const ProgramNode& node, const KernelChoice& choice) {
  std::string reasons;
  for (const auto& [kernel, reason] : choice.rejected)
    reasons += fmt::format("\n  {}: {}", kernel, reason);
  fail(ErrorCode::kUnsupported, "[{}] no {} kernel serves {} of program {}:{}", name_of(node.op),
       backend, describe(node.op), program.name, reasons);
}

void log_choices(const ProgramDescription& program, std::span<const KernelChoice> choices,
                 std::span<const DataType> storage) {
  if (!log::enabled("dispatch")) return;
  std::vector<std::pair<std::string, int>> lines;  // in the order of their first appearance
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const KernelChoice& choice = choices[i];
    std::string line =
        fmt::format("{}: {}", describe_node(program, program.nodes[i], storage), choice.kernel);
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

std::vector<std::string> node_labels(const ProgramDescription& program,
                                     std::span<const KernelChoice> choices) {
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < program.nodes.size(); ++i) {
    const ProgramNode& node = program.nodes[i];
    const std::string& value =
        node.outputs.empty() ? program.name
                             : program.values.at(static_cast<std::size_t>(node.outputs[0])).name;
    labels.push_back(
        fmt::format("[{}] \"{}\", kernel {}", name_of(node.op), value, choices[i].kernel));
  }
  return labels;
}

}  // namespace tenon
