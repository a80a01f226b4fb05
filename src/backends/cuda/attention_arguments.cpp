// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/attention_arguments.h"

#include <fmt/core.h>

#include "backends/cuda/device_weight.h"

namespace tenon::cuda {
namespace {

std::vector<float> slopes(const Attention& op) {
  std::vector<float> out;
  for (std::int64_t head = 0; head < op.heads; ++head)
    out.push_back(alibi_slope(op.head_begin + head, op.total_heads));
  return out;
}

// T5's buckets by distance, so that no kernel computes their logarithms: edges are sharp.
std::vector<float> spread(const Attention& op, const QuantizedTensor& weight) {
  const Tensor table = dequantize(weight);  // [buckets, heads]
  const std::int64_t reach = op.relative_max_distance;
  const bool both = op.mask == AttentionMask::kBidirectional;
  std::vector<float> out;
  for (std::int64_t head = 0; head < op.heads; ++head)
    for (std::int64_t distance = -reach; distance <= reach; ++distance) {
      const std::int64_t bucket =
          relative_bucket(distance, both, op.relative_buckets, op.relative_max_distance);
      out.push_back(table.view().as<float>()[bucket * op.heads + head]);
    }
  return out;
}

PackedNeed spread_need(const Attention& op, const WeightUse& use) {
  return {fmt::format("{} by distance {} {} {}", use.name, op.relative_max_distance,
                      op.relative_buckets, static_cast<int>(op.mask)),
          byte_count(DataType::kFloat32, {op.heads, 2 * op.relative_max_distance + 1}, use.name)};
}

}  // namespace

std::vector<PackedNeed> attention_needs(const Attention& op, const NodeView& node) {
  std::vector<PackedNeed> needs;
  if (op.alibi) needs.push_back(constant_need(slopes(op)));
  if (op.relative_bias) needs.push_back(spread_need(op, node.weights[0]));
  return needs;
}

AttentionArguments upload_attention(const Attention& op, const NodeView& node,
                                    const Weights& weights, LoadContext& load) {
  AttentionArguments out;
  out.source = op.source;
  out.mask = op.mask;
  out.heads = static_cast<std::int32_t>(op.heads);
  out.kv_heads = static_cast<std::int32_t>(op.kv_heads);
  out.head_dim = static_cast<std::int32_t>(op.head_dim);
  out.scale = op.scale;
  out.softcap = op.softcap;
  out.window = op.window;
  if (op.alibi) out.alibi_slopes = upload_constant(slopes(op), load);
  if (op.relative_bias) {
    const std::vector<float> bias = spread(op, weights[0]);
    out.relative_bias = reinterpret_cast<const float*>(
        load.get(spread_need(op, node.weights[0]).key, std::as_bytes(std::span(bias))));
    out.relative_reach = static_cast<std::int32_t>(op.relative_max_distance);
  }
  return out;
}

}  // namespace tenon::cuda
