// AttentionLayer: multi-head, grouped-query, multi-query and cross-attention with every kind of
// position. Q, K and V are parts of their own; merging them is the business of packing.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "graph/graph_builder.h"
#include "tenon/config.h"

namespace tenon {

/// Weights: name.q, .k, .v, .dense, each .weight and, where asked for, .bias;
/// name.rel_attn_table.weight [relative_buckets, heads] for kRelative. Heads lie on `axis`.
struct AttentionLayer {
  std::string name;
  std::int64_t hidden_size = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_kv_heads = 0;         ///< 0: num_attention_heads
  std::int64_t attention_head_size = 0;  ///< 0: hidden_size / num_attention_heads
  std::int64_t encoder_hidden_size = 0;  ///< cross-attention: width of what is attended to; 0: own
  bool qkv_bias = false;
  bool dense_bias = false;
  AttentionMask mask = AttentionMask::kCausal;
  std::int64_t window = 0;  ///< keys seen back, the token itself included; 0: all
  PositionEmbeddingType position = PositionEmbeddingType::kRopeGptNeox;
  std::int64_t rotary_embedding_dim = 0;  ///< 0: all (kChatglm: half of them)
  double rotary_base = 10000.0;
  RopeScaling rotary_scaling = {};
  std::int64_t max_position_embeddings = 0;
  std::int64_t relative_buckets = 32;
  std::int64_t relative_max_distance = 128;
  std::optional<double> scale = {};  ///< of the scores; unset: 1 / sqrt(attention_head_size)
  double softcap = 0.0;
  std::string axis = "heads";
  std::string output = {};  ///< empty: name.output
  /// Layer of the paged cache that keys and values go to; unset: this step's keys alone.
  std::optional<std::int64_t> cache_layer = {};

  std::int64_t kv_heads() const { return num_kv_heads > 0 ? num_kv_heads : num_attention_heads; }
  std::int64_t head_dim() const;

  /// Self-attention: hidden [T, hidden_size], positions int32 [T] (unused where no rotary kind
  /// asks for it) → [T, hidden_size].
  ValueId emit(GraphBuilder& builder, ValueId hidden, ValueId positions) const;
  /// Cross-attention: keys and values from encoder [E, encoder_hidden_size].
  ValueId emit_cross(GraphBuilder& builder, ValueId hidden, ValueId encoder) const;

 private:
  void declare_axis(GraphBuilder& builder) const;
  ValueId project(GraphBuilder& builder, ValueId x, const char* part, std::int64_t width) const;
  ValueId rotate(GraphBuilder& builder, ValueId x, ValueId positions, const char* part,
                 std::int64_t heads) const;
  ValueId attend(GraphBuilder& builder, AttentionSource source, std::vector<ValueId> inputs) const;
};

/// True for the kinds that rotate queries and keys.
bool is_rotary(PositionEmbeddingType type);

}  // namespace tenon
