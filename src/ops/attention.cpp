// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "ops/shape_rule.h"

namespace tenon {
namespace {

void check_attributes(const Attention& op) {
  shape_rule::in_range(op.kName, "cache_layer", op.cache_layer, 0);
  shape_rule::in_range(op.kName, "heads", op.heads, 1);
  shape_rule::in_range(op.kName, "kv_heads", op.kv_heads, 1);
  shape_rule::in_range(op.kName, "head_dim", op.head_dim, 1);
  TENON_CHECK(op.heads % op.kv_heads == 0, ErrorCode::kCorrupt,
              "[attention] {} kv_heads do not divide {} heads", op.kv_heads, op.heads);
  shape_rule::in_range(op.kName, "window", op.window, 0, std::int64_t{1} << 40);
  shape_rule::finite(op.kName, "scale", op.scale);
  TENON_CHECK(std::isfinite(op.softcap) && op.softcap >= 0.F, ErrorCode::kCorrupt,
              "[attention] softcap is {}, expected 0 (none) or a positive number", op.softcap);
  shape_rule::in_range(op.kName, "head_begin", op.head_begin, 0);
  // 0: a layer that does not care; only the slopes of alibi look at it.
  const std::int64_t least = op.total_heads == 0 && !op.alibi ? 0 : op.head_begin + op.heads;
  shape_rule::in_range(op.kName, "total_heads", op.total_heads, least);
}

void check_relative_bias(const Attention& op, std::span<const Shape> weights) {
  shape_rule::in_range(op.kName, "relative_buckets", op.relative_buckets, 4);
  shape_rule::in_range(op.kName, "relative_max_distance", op.relative_max_distance,
                       op.relative_buckets / 2 + 1);
  shape_rule::weight(op.kName, "relative bias", weights[0], {op.relative_buckets, op.heads});
}

}  // namespace

std::vector<ValueType> infer_types(const Attention& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights) {
  const bool cached = op.source == AttentionSource::kPagedCache;
  shape_rule::counts(op.kName, inputs, cached ? 2 : 3, weights, op.relative_bias ? 1 : 0);
  check_attributes(op);
  shape_rule::float_columns(op.kName, "q", inputs[0], op.heads * op.head_dim);
  if (op.relative_bias) check_relative_bias(op, weights);
  if (cached) {
    TENON_CHECK(inputs[1].kind == ValueKind::kCache, ErrorCode::kCorrupt,
                "[attention] input 1 is {}, expected a cache", to_string(inputs[1]));
    return {inputs[0]};
  }
  shape_rule::float_columns(op.kName, "k", inputs[1], op.kv_heads * op.head_dim);
  shape_rule::same_type(op.kName, "k", inputs[1], "v", inputs[2]);
  if (op.source == AttentionSource::kDirect)
    shape_rule::same_rows(op.kName, "q", inputs[0], "k", inputs[1]);
  return {inputs[0]};
}

float alibi_slope(std::int64_t head, std::int64_t heads) {
  // A geometric sequence for a power of two; beyond it, every second term of the next one's.
  const auto power = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  const double exponent =
      head < power
          ? -8.0 * static_cast<double>(head + 1) / static_cast<double>(power)
          : -8.0 * static_cast<double>(2 * (head - power) + 1) / static_cast<double>(2 * power);
  return static_cast<float>(std::exp2(exponent));
}

std::int64_t relative_bucket(std::int64_t relative_position, bool bidirectional,
                             std::int64_t buckets, std::int64_t max_distance) {
  std::int64_t first = 0;
  std::int64_t distance = std::max<std::int64_t>(-relative_position, 0);
  if (bidirectional) {
    buckets /= 2;  // one half for keys after the query
    if (relative_position > 0) first = buckets;
    distance = std::abs(relative_position);
  }
  const std::int64_t exact = buckets / 2;
  if (distance < exact) return first + distance;
  // Logarithmic from here; in fp32, as the models were trained, since buckets have sharp edges.
  const float position =
      std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
      static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact))) *
      static_cast<float>(buckets - exact);
  return first + std::min(exact + static_cast<std::int64_t>(position), buckets - 1);
}

}  // namespace tenon
