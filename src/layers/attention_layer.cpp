// SPDX-License-Identifier: Apache-2.0
#include "layers/attention_layer.h"

#include <cmath>

#include "core/check.h"
#include "layers/layer_name.h"
#include "layers/linear_layer.h"
#include "layers/rope_frequencies.h"

namespace tenon {

using Position = PositionEmbeddingType;

bool is_rotary(PositionEmbeddingType type) {
  return type == Position::kRopeGptNeox || type == Position::kRopeGptj ||
         type == Position::kChatglm || type == Position::kYarn || type == Position::kLongRope;
}

std::int64_t AttentionLayer::head_dim() const {
  if (attention_head_size > 0) return attention_head_size;
  TENON_CHECK(num_attention_heads > 0 && hidden_size % num_attention_heads == 0,
              ErrorCode::kInvalidArgument,
              "{}: num_attention_heads is {}, expected a divisor of hidden_size, {}, or "
              "attention_head_size to be given",
              name, num_attention_heads, hidden_size);
  return hidden_size / num_attention_heads;
}

void AttentionLayer::declare_axis(GraphBuilder& builder) const {
  TENON_CHECK(num_attention_heads > 0 && num_attention_heads % kv_heads() == 0,
              ErrorCode::kInvalidArgument,
              "{}: num_kv_heads is {}, expected a divisor of num_attention_heads, {}", name,
              kv_heads(), num_attention_heads);
  builder.axis(axis, {.units = num_attention_heads, .groups = kv_heads()});
}

ValueId AttentionLayer::project(GraphBuilder& builder, ValueId x, const char* part,
                                std::int64_t width) const {
  const bool is_query = std::string_view(part) == "q";
  const ColumnLinearLayer linear{
      .name = name + "." + part,
      .in_features = width,
      .out_features = (is_query ? num_attention_heads : kv_heads()) * head_dim(),
      .bias = qkv_bias,
      .share = {.axis = axis, .extent_per_unit = head_dim(), .per_group = !is_query}};
  return linear.emit(builder, x);
}

ValueId AttentionLayer::rotate(GraphBuilder& builder, ValueId x, ValueId positions,
                               const char* part, std::int64_t heads) const {
  if (!is_rotary(position)) return x;
  const char* wanted = position == Position::kYarn       ? "yarn"
                       : position == Position::kLongRope ? "longrope"
                                                         : nullptr;
  TENON_CHECK(wanted == nullptr || rotary_scaling.type == wanted, ErrorCode::kInvalidArgument,
              "{}: position kind {} needs rotary scaling of type \"{}\", got \"{}\"", name,
              to_string(position), wanted, rotary_scaling.type);
  const std::int64_t whole = position == Position::kChatglm ? head_dim() / 2 : head_dim();
  const RopeSettings settings{.base = rotary_base,
                              .rotary_dim = rotary_embedding_dim > 0 ? rotary_embedding_dim : whole,
                              .max_position_embeddings = max_position_embeddings,
                              .scaling = rotary_scaling};
  const bool neighbours = position == Position::kRopeGptj || position == Position::kChatglm;
  const Rope op =
      rope_op(settings, heads, head_dim(), neighbours ? RopeStyle::kGptj : RopeStyle::kNeox);
  return builder.add1(op, {x, positions}, {}, value_name(name + "." + part + "_rope"));
}

ValueId AttentionLayer::attend(GraphBuilder& builder, AttentionSource source,
                               std::vector<ValueId> inputs) const {
  Attention op{.source = source,
               .mask = source == AttentionSource::kCross ? AttentionMask::kBidirectional : mask,
               .cache_layer = cache_layer.value_or(0),
               .heads = num_attention_heads,
               .kv_heads = kv_heads(),
               .head_dim = head_dim()};
  op.scale = static_cast<float>(scale.value_or(1.0 / std::sqrt(static_cast<double>(head_dim()))));
  op.window = source == AttentionSource::kCross ? 0 : window;
  op.softcap = static_cast<float>(softcap);
  op.total_heads = num_attention_heads;
  op.alibi = position == Position::kAlibi;
  std::vector<WeightId> weights;
  if (position == Position::kRelative) {
    op.relative_bias = true;
    op.relative_buckets = relative_buckets;
    op.relative_max_distance = relative_max_distance;
    weights.push_back(builder.weight(name + ".rel_attn_table.weight",
                                     {relative_buckets, num_attention_heads},
                                     {{.axis = axis, .dim = 1}}));
  }
  const ValueId context =
      builder.add1(op, std::move(inputs), std::move(weights), value_name(name + ".context"));
  const RowLinearLayer dense{.name = name + ".dense",
                             .in_features = num_attention_heads * head_dim(),
                             .out_features = hidden_size,
                             .bias = dense_bias,
                             .share = {.axis = axis, .extent_per_unit = head_dim()},
                             .output = output.empty() ? value_name(name + ".output") : output};
  return dense.emit(builder, context);
}

ValueId AttentionLayer::emit(GraphBuilder& builder, ValueId hidden, ValueId positions) const {
  declare_axis(builder);
  ValueId q = project(builder, hidden, "q", hidden_size);
  ValueId k = project(builder, hidden, "k", hidden_size);
  const ValueId v = project(builder, hidden, "v", hidden_size);
  q = rotate(builder, q, positions, "q", num_attention_heads);
  k = rotate(builder, k, positions, "k", kv_heads());
  if (!cache_layer) return attend(builder, AttentionSource::kDirect, {q, k, v});
  const CacheWrite write{
      .cache_layer = *cache_layer, .kv_heads = kv_heads(), .head_dim = head_dim()};
  const ValueId cache = builder.add1(write, {k, v}, {}, value_name(name + ".cache"));
  return attend(builder, AttentionSource::kPagedCache, {q, cache});
}

ValueId AttentionLayer::emit_cross(GraphBuilder& builder, ValueId hidden, ValueId encoder) const {
  TENON_CHECK(!is_rotary(position) && position != Position::kAlibi && !cache_layer,
              ErrorCode::kInvalidArgument,
              "{}: cross-attention has no order of positions and no paged cache", name);
  declare_axis(builder);
  const std::int64_t width = encoder_hidden_size > 0 ? encoder_hidden_size : hidden_size;
  const ValueId q = project(builder, hidden, "q", hidden_size);
  const ValueId k = project(builder, encoder, "k", width);
  const ValueId v = project(builder, encoder, "v", width);
  return attend(builder, AttentionSource::kCross, {q, k, v});
}

}  // namespace tenon
