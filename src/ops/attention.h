// Attention: softmax(scale * q k^T + bias) v per head, per sequence of the packed batch; kv_heads
// divides heads (MHA, GQA, MQA).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ops/op_common.h"

namespace tenon {

struct Attention {
  static constexpr const char* kName = "attention";
  AttentionSource source = AttentionSource::kPagedCache;
  AttentionMask mask = AttentionMask::kCausal;
  std::int64_t cache_layer = 0;  ///< kPagedCache
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  float scale = 1.F;
  std::int64_t window = 0;       ///< keys seen back from a token, itself included; 0: all
  float softcap = 0.F;           ///< cap * tanh(score / cap) before the mask; 0: none
  bool alibi = false;            ///< Press et al., 2021: slope(head) * (key - query position)
  std::int64_t head_begin = 0;   ///< of this rank's heads among total_heads (alibi slopes)
  std::int64_t total_heads = 0;  ///< of the unsharded model
  bool relative_bias = false;    ///< T5's buckets: one weight [buckets, heads]
  std::int64_t relative_buckets = 32;
  std::int64_t relative_max_distance = 128;

  /// inputs: q [T, heads * head_dim], then cache (kPagedCache), or k, v [T or E, kv_heads *
  /// head_dim]; weights: the relative bias table, where there is one; output: as q.
  static auto fields() {
    return std::tuple(
        field("source", &Attention::source), field("mask", &Attention::mask),
        field("cache_layer", &Attention::cache_layer), field("heads", &Attention::heads),
        field("kv_heads", &Attention::kv_heads), field("head_dim", &Attention::head_dim),
        field("scale", &Attention::scale), field("window", &Attention::window),
        field("softcap", &Attention::softcap), field("alibi", &Attention::alibi),
        field("head_begin", &Attention::head_begin), field("total_heads", &Attention::total_heads),
        field("relative_bias", &Attention::relative_bias),
        field("relative_buckets", &Attention::relative_buckets),
        field("relative_max_distance", &Attention::relative_max_distance));
  }
};

/// ALiBi's slope of `head` among `heads`, as Press et al. give it, also for counts that are no
/// power of two.
float alibi_slope(std::int64_t head, std::int64_t heads);

/// T5's bucket of a relative position (key - query).
std::int64_t relative_bucket(std::int64_t relative_position, bool bidirectional,
                             std::int64_t buckets, std::int64_t max_distance);

std::vector<ValueType> infer_types(const Attention& op, std::span<const ValueType> inputs,
                                   std::span<const Shape> weights);

}  // namespace tenon
