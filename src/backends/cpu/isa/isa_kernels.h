// IsaKernels: the inner loops that exist once per instruction set. Plain pointers and structs, so
// that the files compiled for one set share no inline code with the rest of the program (the linker
// may keep either copy of an inline function, and the wrong one would not run everywhere).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "core/dtype.h"
#include "ops/op_common.h"

namespace tenon::cpu {

/// One row of Norm: sum (may be null) = x + addend (may be null), out = norm(sum).
struct NormRow {
  const float* x = nullptr;
  const float* addend = nullptr;
  float* sum = nullptr;  ///< also where addend is null: not written then
  float* out = nullptr;
  const float* gain = nullptr;
  const float* bias = nullptr;  ///< may be null
  std::int64_t width = 0;
  float eps = 0.F;
  bool subtract_mean = false;
};

/// One token of Rope: `heads` heads, `head_stride` floats apart.
struct RopeToken {
  const float* x = nullptr;
  float* out = nullptr;
  const float* angles = nullptr;  ///< rotary_dim / 2 cosines, as many sines
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t rotary_dim = 0;
  bool neox = true;
};

/// A run of queries of one sequence that share a key-value head, against keys in blocks.
/// Row r of the tile is query token r / group, head r % group.
struct AttentionTile {
  const float* queries = nullptr;  ///< first token, first head of the group
  float* out = nullptr;
  std::int64_t token_stride = 0;  ///< floats between tokens, of queries and out
  std::int64_t tokens = 0;
  std::int64_t group = 0;  ///< query heads of the key-value head, head_dim floats apart
  std::int64_t head_dim = 0;
  std::int64_t place = 0;  ///< of the first query token in its sequence

  DataType dtype = DataType::kFloat32;
  const void* keys = nullptr;  ///< layout: CacheLayer
  const void* values = nullptr;
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
  const std::int32_t* table = nullptr;
  std::int64_t kv_heads = 0;
  std::int64_t kv_head = 0;
  std::int64_t block_tokens = 0;
  std::int64_t key_stride = 0;
  std::int64_t key_count = 0;  ///< of the sequence

  float scale = 1.F;
  float softcap = 0.F;
  std::int64_t window = 0;
  bool causal = true;
  const float* slopes = nullptr;  ///< [group] or null: alibi
  const float* bias = nullptr;    ///< [group][2 * bias_reach + 1] by key - query, or null
  std::int64_t bias_reach = 0;
};

/// Keys are met in spans of this many, counted from the sequence's first key; each span gives a
/// partial result and partial results are merged in order. A fixed length makes a row's bits
/// independent of how the work is cut.
inline constexpr std::int64_t kAttentionSpan = 512;
/// Keys whose scores are held at a time.
inline constexpr std::int64_t kAttentionKeys = 128;
/// Query rows of a tile, where one token's group is not larger.
inline constexpr std::int64_t kAttentionRows = 48;

/// Floats of a partial result: per row its largest score, its sum, its weighted values.
constexpr std::int64_t padded_head_dim(std::int64_t head_dim) { return (head_dim + 15) / 16 * 16; }
constexpr std::int64_t attention_state_floats(std::int64_t rows, std::int64_t head_dim) {
  return (rows + 15) / 16 * 16 * (2 + padded_head_dim(head_dim));
}
/// Floats that attention_span needs besides: packed queries and scores.
constexpr std::int64_t attention_scratch_floats(std::int64_t rows, std::int64_t head_dim) {
  return (rows + 15) / 16 * 16 * head_dim + 16 * (kAttentionKeys + 64);
}

struct IsaKernels {
  void (*norm)(const NormRow& row);
  void (*activation)(ActivationKind kind, const float* x, float* out, std::int64_t count);
  void (*gated_activation)(ActivationKind kind, const float* gate, const float* up, float* out,
                           std::int64_t count);
  void (*softcap)(float cap, const float* x, float* out, std::int64_t count);
  void (*rope)(const RopeToken& token);
  /// To float32, float16 or bfloat16.
  void (*convert)(DataType to, const float* x, void* out, std::int64_t count);
  /// To int8 codes that share one symmetric scale, which is returned.
  float (*quantize)(const float* x, std::int8_t* codes, std::int64_t count);
  /// weights[i] = exp((x[i] - shift) * factor), weights may be null; returns their sum.
  double (*sum_exp)(const float* x, float shift, float factor, float* weights, std::int64_t count);

  /// Partial result of keys [span * kAttentionSpan, …) into `state`.
  void (*attention_span)(const AttentionTile& tile, std::int64_t span, float* scratch,
                         float* state);
  /// total = total and the partial result that follows it.
  void (*attention_merge)(std::int64_t rows, std::int64_t head_dim, float* total,
                          const float* partial);
  void (*attention_finish)(const AttentionTile& tile, const float* total);
};

const IsaKernels& avx2_kernels();
const IsaKernels& avx512_kernels();

/// The best table that `features` allow; null: none.
const IsaKernels* isa_kernels(const CpuFeatures& features);

}  // namespace tenon::cpu
