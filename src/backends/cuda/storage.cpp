// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/storage.h"

#include <algorithm>
#include <optional>

namespace tenon::cuda {
namespace {

bool is_16_bit(DataType type) { return type == DataType::kFloat16 || type == DataType::kBFloat16; }

DataType cache_type(const ProgramDescription& program, std::int64_t cache_layer) {
  for (const CacheGroupDescription& group : program.cache)
    if (std::find(group.layers.begin(), group.layers.end(), cache_layer) != group.layers.end())
      return group.dtype;
  return DataType::kFloat32;
}

// float16 where every matrix of the node is: such a model was made for it. float32 weights are
// multiplied with float32. Vectors do not count.
DataType linear_type(const ProgramDescription& program, const ProgramNode& node) {
  DataType type = DataType::kFloat16;
  for (const int weight : node.weights) {
    const WeightUse& use = program.weights[static_cast<std::size_t>(weight)];
    if (use.shape.size() != 2) continue;
    if (use.spec == QuantSpec::floating(DataType::kFloat32)) return DataType::kFloat32;
    if (use.spec != QuantSpec::floating(DataType::kFloat16)) type = DataType::kBFloat16;
  }
  return type;
}

// What the reader wants the value in; float32 where it must stay as it is.
DataType wanted(const ProgramDescription& program, const ProgramNode& node) {
  if (std::holds_alternative<Linear>(node.op) || std::holds_alternative<GatedLinear>(node.op))
    return linear_type(program, node);
  if (const auto* attention = std::get_if<Attention>(&node.op)) {
    if (attention->source != AttentionSource::kPagedCache) return DataType::kBFloat16;
    const DataType cached = cache_type(program, attention->cache_layer);
    return cached == DataType::kFloat32 || is_16_bit(cached) ? cached : DataType::kBFloat16;
  }
  return DataType::kFloat32;
}

// Ranks exchange float32, or what the graph says.
bool writes_16_bit(const Op& op) {
  return !std::holds_alternative<AllReduce>(op) && !std::holds_alternative<AllGather>(op) &&
         !std::holds_alternative<Receive>(op);
}

}  // namespace

std::vector<DataType> storage_types(const ProgramDescription& program) {
  std::vector<DataType> out;
  for (const ProgramValue& value : program.values) out.push_back(value.type.dtype);
  if (program.policy.activation == DataType::kFloat32) return out;
  std::vector<std::optional<DataType>> reads(program.values.size());
  for (const ProgramNode& node : program.nodes) {
    const DataType type = wanted(program, node);
    for (const int input : node.inputs) {
      auto& read = reads[static_cast<std::size_t>(input)];
      if (!read || *read == type)
        read = type;
      else  // float16 for one and bfloat16 for another: the wider range serves both
        read = is_16_bit(type) && is_16_bit(*read) ? DataType::kBFloat16 : DataType::kFloat32;
    }
  }
  // An output that a node reads too is held as that node wants it: being readable must not change
  // which kernel serves. Reading it converts.
  std::vector<bool> fixed(program.values.size());
  for (const int value : program.inputs) fixed[static_cast<std::size_t>(value)] = true;
  for (const ProgramNode& node : program.nodes)
    for (const int output : node.outputs) {
      const auto at = static_cast<std::size_t>(output);
      const ValueType& type = program.values[at].type;
      if (type.kind == ValueKind::kTensor && type.dtype == DataType::kFloat32 && reads[at] &&
          !fixed[at] && writes_16_bit(node.op))
        out[at] = *reads[at];
    }
  return out;
}

}  // namespace tenon::cuda
