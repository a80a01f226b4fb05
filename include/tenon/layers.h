// Layers on their own: build one, give it weights, run it on host data (CPU, fp32). For looking at
// and testing layers and models one layer at a time; engines run the same layers far faster.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/config.h"
#include "tenon/export.h"

namespace tenon::layers {

/// A dense row-major float tensor on the host. Rows of several sequences lie one after another;
/// there is no padding.
struct TENON_API Array {
  std::vector<float> data{};          ///< row by row
  std::vector<std::int64_t> shape{};  ///< [rows, width]
};

/// What attention needs to know of the rows. Layers that work row by row ignore it.
struct TENON_API Sequences {
  std::vector<std::int32_t> sequence_lengths{};  ///< rows of each sequence; empty: all rows are one
  std::vector<std::int32_t> positions{};  ///< of each row; empty: 0, 1, … within each sequence
  Array encoder;                          ///< cross-attention: [encoder rows, encoder_hidden_size]
  std::vector<std::int32_t> encoder_lengths{};  ///< encoder rows of each sequence; empty: all one's
};

/// A weight that a layer asks for.
struct TENON_API WeightDescription {
  std::string name{};                 ///< "q.weight"
  std::vector<std::int64_t> shape{};  ///< outermost extent first
};

/// What all layers share. Copies are not possible; moves are.
class TENON_API Layer {
 public:
  Layer(Layer&&) noexcept;
  Layer& operator=(Layer&&) noexcept;
  virtual ~Layer();

  /// What the layer needs before it runs.
  std::vector<WeightDescription> weights() const;
  /// `data`: row-major, of the shape that weights() says. Throws Error{kNotFound} with the nearest
  /// name, Error{kInvalidArgument} for another shape or count.
  void set_weight(std::string_view name, const std::vector<std::int64_t>& shape,
                  const std::vector<float>& data);
  /// The layer's graph, one line an operation.
  std::string print() const;

 protected:
  class Impl;
  explicit Layer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A layer of float rows: x [rows, in] → [rows, out].
class TENON_API RowLayer : public Layer {
 public:
  /// Throws Error{kInvalidArgument} where a weight is missing (all are listed) or x has another
  /// width.
  Array forward(const Array& x, const Sequences& sequences = {}) const;

 protected:
  using Layer::Layer;
};

// ------------------------------------------------------------------------------------ linear

/// y = x W^T + b. Weights: weight [out_features, in_features], bias [out_features].
struct TENON_API LinearOptions {
  std::int64_t in_features = 0;   ///< width of x
  std::int64_t out_features = 0;  ///< width of y
  bool bias = true;               ///< whether there is one
  int tp_size = 1;                ///< ranks of this process that the layer is cut over
  bool gather_output = true;      ///< ColumnLinear: every rank ends up with all output features
};
class TENON_API Linear : public RowLayer {
 public:
  explicit Linear(const LinearOptions& options);
};
/// Cut along its output features.
class TENON_API ColumnLinear : public RowLayer {
 public:
  explicit ColumnLinear(const LinearOptions& options);
};
/// Cut along its input features; partial sums are added up over the ranks, the bias once.
class TENON_API RowLinear : public RowLayer {
 public:
  explicit RowLinear(const LinearOptions& options);
};

// --------------------------------------------------------------------------------- embedding

/// Weight: weight [num_embeddings, embedding_dim].
struct TENON_API EmbeddingOptions {
  std::int64_t num_embeddings = 0;  ///< rows of the table
  std::int64_t embedding_dim = 0;   ///< features of a row
  int tp_size = 1;                  ///< ranks of this process that the layer is cut over
  int sharding_dim = 0;             ///< 0: the table is cut by rows, 1: by features
};
class TENON_API Embedding : public Layer {
 public:
  explicit Embedding(const EmbeddingOptions& options);
  /// ids in [0, num_embeddings) → [ids, embedding_dim]. For learned positions, give positions.
  Array forward(const std::vector<std::int32_t>& ids) const;
};

// ------------------------------------------------------------------------------------- norms

/// x / sqrt(mean(x²) + eps) * weight. Weight: weight [normalized_shape].
struct TENON_API RmsNormOptions {
  std::int64_t normalized_shape = 0;  ///< width of x
  double eps = 1e-6;                  ///< added to the mean square
};
class TENON_API RmsNorm : public RowLayer {
 public:
  explicit RmsNorm(const RmsNormOptions& options);
};

/// (x - mean) / sqrt(variance + eps) * weight + bias. Weights: weight, bias [normalized_shape].
struct TENON_API LayerNormOptions {
  std::int64_t normalized_shape = 0;  ///< width of x
  double eps = 1e-5;                  ///< added to the variance
  bool bias = true;                   ///< whether there is one
};
class TENON_API LayerNorm : public RowLayer {
 public:
  explicit LayerNorm(const LayerNormOptions& options);
};

/// LayerNorm of each run of num_channels / num_groups features. Weights: weight, bias
/// [num_channels].
struct TENON_API GroupNormOptions {
  std::int64_t num_groups = 1;    ///< a divisor of num_channels
  std::int64_t num_channels = 0;  ///< width of x
  double eps = 1e-5;              ///< added to the variance
  bool affine_bias = true;        ///< whether there is a bias
};
class TENON_API GroupNorm : public RowLayer {
 public:
  explicit GroupNorm(const GroupNormOptions& options);
};

// ------------------------------------------------------------------------------ feed-forward

/// hidden_act: silu (swish), gelu (exact), gelu_new, gelu_tanh, gelu_pytorch_tanh, gelu_fast,
/// quick_gelu, relu, relu2, sigmoid, tanh, identity; gated layers also swiglu, geglu, gegelu. An
/// unknown one is an Error with the nearest name.
struct TENON_API MlpOptions {
  std::int64_t hidden_size = 0;      ///< width of x and of the result
  std::int64_t ffn_hidden_size = 0;  ///< width between the linear layers
  std::string hidden_act = "gelu";   ///< one of those above
  bool bias = true;                  ///< whether there is one
  int tp_size = 1;                   ///< ranks of this process that the layer is cut over
};
/// proj(act(fc(x))). Weights: fc [ffn_hidden_size, hidden_size], proj [hidden_size,
/// ffn_hidden_size], each .weight and .bias.
class TENON_API MLP : public RowLayer {
 public:
  explicit MLP(const MlpOptions& options);
};
/// proj(act(fc(x)) * gate(x)). Weights: those of MLP, and gate of fc's shape. In Hugging Face's
/// words fc is gate_proj, gate is up_proj, proj is down_proj.
class TENON_API GatedMLP : public RowLayer {
 public:
  explicit GatedMLP(const MlpOptions& options);
};
/// The same as GatedMLP: graphs are fused when they are loaded, never by the layer.
class TENON_API FusedGatedMLP : public RowLayer {
 public:
  explicit FusedGatedMLP(const MlpOptions& options);
};

// --------------------------------------------------------------------------------- attention

/// Which rows of a sequence a row attends to.
enum class AttentionMaskType : std::uint8_t {
  kPadding,              ///< all rows of the sequence; there is no padding to hide in packed rows
  kCausal,               ///< the row itself and those before
  kSlidingWindowCausal,  ///< the last `sliding_window` rows, the row itself included
  kBidirectional,        ///< all rows of the sequence
};

/// Multi-head (num_kv_heads = num_attention_heads), grouped-query, multi-query (num_kv_heads = 1)
/// and cross-attention.
/// Weights: q [heads * head_size, hidden_size], k and v [kv_heads * head_size, hidden_size or
/// encoder_hidden_size], dense [hidden_size, heads * head_size], each .weight and .bias;
/// rel_attn_table.weight [num_buckets, heads] for kRelative. qkv.weight and qkv.bias may be set in
/// place of q, k and v: their rows one after another.
struct TENON_API AttentionOptions {
  std::int64_t local_layer_idx = 0;             ///< names the layer in messages
  std::int64_t hidden_size = 0;                 ///< width of x and of the result
  std::int64_t num_attention_heads = 0;         ///< query heads
  std::int64_t num_kv_heads = 0;                ///< 0: num_attention_heads
  std::int64_t max_position_embeddings = 1024;  ///< the length that rope scaling starts from
  std::int64_t attention_head_size = 0;         ///< 0: hidden_size / num_attention_heads
  AttentionMaskType attention_mask_type = AttentionMaskType::kPadding;  ///< who sees whom
  std::int64_t sliding_window = 0;  ///< rows, for kSlidingWindowCausal; 0 otherwise
  PositionEmbeddingType position_embedding_type = PositionEmbeddingType::kLearnedAbsolute;
  double rotary_embedding_base = 10000.0;     ///< theta of the rotary frequencies
  RopeScaling rotary_embedding_scaling = {};  ///< how they are stretched
  std::int64_t rotary_embedding_dim = 0;      ///< 0: all features (chatglm: half of them)
  bool bias = true;                           ///< of q, k, v and dense
  double q_scaling = 1.0;                     ///< scores are divided by q_scaling * sqrt(head_size)
  double max_attn_value = 0.0;                ///< scores are capped by m * tanh(s / m); 0: not
  std::int64_t num_buckets = 32;              ///< kRelative
  std::int64_t max_distance = 128;            ///< kRelative
  bool cross_attention = false;               ///< keys and values from Sequences::encoder
  std::int64_t encoder_hidden_size = 0;       ///< 0: hidden_size
  int tp_size = 1;                            ///< ranks of this process that the layer is cut over
};
class TENON_API Attention : public RowLayer {
 public:
  explicit Attention(const AttentionOptions& options);
};

}  // namespace tenon::layers
