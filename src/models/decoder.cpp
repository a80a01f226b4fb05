// SPDX-License-Identifier: Apache-2.0
#include "models/decoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "checkpoint/layer_kind.h"
#include "core/check.h"
#include "layers/attention_layer.h"
#include "layers/embedding_layer.h"
#include "layers/linear_layer.h"
#include "layers/mlp_layer.h"
#include "layers/norm_layer.h"
#include "models/rope_config.h"

namespace tenon {
namespace {

/// Rotary settings of one layer, with the kind of position that they make.
struct Rotation {
  PositionEmbeddingType position;
  LayerRotary rotary;
};

Rotation rotation_of(const PretrainedConfig& config, std::int64_t layer) {
  const auto own = config.layer_rotary.find(layer_kind(config, layer));
  if (own == config.layer_rotary.end())
    return {config.position_embedding_type, {config.rotary_base, config.rotary_scaling}};
  return {rope_position(own->second.rotary_scaling), own->second};
}

AttentionLayer attention_of(const PretrainedConfig& config, std::int64_t layer,
                            const std::string& name) {
  const Rotation rotation = rotation_of(config, layer);
  return {.name = name + ".attention",
          .hidden_size = config.hidden_size,
          .num_attention_heads = config.num_attention_heads,
          .num_kv_heads = config.num_key_value_heads,
          .attention_head_size = config.head_size,
          .qkv_bias = config.qkv_bias,
          .dense_bias = config.attn_dense_bias,
          .window = layer_window(config, layer),
          .position = rotation.position,
          .rotary_embedding_dim = config.rotary_embedding_dim,
          .rotary_base = rotation.rotary.rotary_base,
          .rotary_scaling = rotation.rotary.rotary_scaling,
          .max_position_embeddings = config.max_position_embeddings,
          .cache_layer = layer};
}

ValueId emit_block(GraphBuilder& builder, const PretrainedConfig& config, std::int64_t layer,
                   ValueId x, ValueId positions) {
  const std::string name = fmt::format("transformer.layers.{}", layer);
  const std::string value = fmt::format("layers.{}", layer);
  const RmsNormLayer input_norm{.name = name + ".input_layernorm",
                                .normalized_shape = config.hidden_size,
                                .eps = config.norm_epsilon};
  const ValueId attended =
      attention_of(config, layer, name).emit(builder, input_norm.emit(builder, x), positions);
  const ValueId residual = builder.add1(Add{}, {x, attended}, {}, value + ".attention.residual");

  const RmsNormLayer post_norm{.name = name + ".post_layernorm",
                               .normalized_shape = config.hidden_size,
                               .eps = config.norm_epsilon};
  const GatedMlpLayer mlp{.name = name + ".mlp",
                          .hidden_size = config.hidden_size,
                          .ffn_hidden_size = config.intermediate_size,
                          .hidden_act = config.hidden_act,
                          .bias = config.mlp_bias};
  const ValueId fed = mlp.emit(builder, post_norm.emit(builder, residual));
  return builder.add1(Add{}, {residual, fed}, {}, value + ".output");
}

Graph build_graph(const PretrainedConfig& config) {
  GraphBuilder builder("decoder");
  const auto ids = [&](const char* name, Symbol rows) {
    return builder.input(name, ValueType::tensor(DataType::kInt32, {rows}));
  };
  const ValueId token_ids = ids("token_ids", Symbol::kTokens);
  const ValueId positions = ids("positions", Symbol::kTokens);
  const ValueId logit_rows = ids("logit_rows", Symbol::kLogitRows);

  const EmbeddingLayer embedding{.name = "transformer.vocab_embedding",
                                 .num_embeddings = config.vocab_size,
                                 .embedding_dim = config.hidden_size};
  ValueId x = embedding.emit(builder, token_ids);
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    builder.set_layer(static_cast<std::int32_t>(layer));
    x = emit_block(builder, config, layer, x, positions);
  }
  builder.set_layer(-1);

  // The last norm works row by row, so rows whose logits nobody wants are dropped before it.
  x = builder.add1(GatherRows{}, {x, logit_rows}, {}, "last_hidden");
  const RmsNormLayer norm{.name = "transformer.ln_f",
                          .normalized_shape = config.hidden_size,
                          .eps = config.norm_epsilon};
  ColumnLinearLayer head{.name = "lm_head",
                         .in_features = config.hidden_size,
                         .out_features = config.vocab_size,
                         .gather_output = true};
  head.share.axis = "vocab";
  if (config.share_embedding_table) head.tied_weight = embedding.name + ".weight";
  const ValueId hidden = norm.emit(builder, x);
  builder.output(head.emit(builder, hidden), "logits");
  builder.output(hidden, "hidden_states");  // one row a logit row: what embeddings are made of
  return builder.finish();
}

/// Linear and dynamic scaling lengthen the context; of the other kinds the config's own length
/// already says so, except where yarn was switched on by hand as Qwen's cards tell. Layers with a
/// window and settings of their own have no say: they see no farther than the window.
std::int64_t longest_sequence(const PretrainedConfig& config) {
  const RopeScaling& s = config.rotary_scaling;
  const std::int64_t length = config.max_position_embeddings;
  const auto stretched = [&](std::int64_t from) {
    return static_cast<std::int64_t>(std::ceil(static_cast<double>(from) * s.factor));
  };
  if (s.type == "linear" || s.type == "dynamic") return std::max(length, stretched(length));
  if (s.type == "yarn") return std::max(length, stretched(s.original_max_position_embeddings));
  return length;
}

}  // namespace

ModelGraphs build_decoder(const PretrainedConfig& config, const BuildConfig&) {
  TENON_CHECK(
      config.position_embedding_type != PositionEmbeddingType::kLearnedAbsolute,
      ErrorCode::kUnsupported,
      "{}: position_embedding_type {} is not supported: this family has no table of positions",
      config.architecture, to_string(config.position_embedding_type));
  for (const auto& entry : config.extra)
    fail(ErrorCode::kUnsupported, "{}: extra has \"{}\", which this family does not know",
         config.architecture, entry.first);
  ModelGraphs graphs;
  graphs.programs.emplace("decoder", build_graph(config));
  EngineTraits& traits = graphs.traits;
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    traits.cache_layers.push_back({.kv_heads = config.num_key_value_heads,
                                   .head_dim = config.head_size,
                                   .window = layer_window(config, layer),
                                   .layer = static_cast<std::int32_t>(layer)});
  traits.max_position = longest_sequence(config);
  traits.vocab_size = config.vocab_size;
  return graphs;
}

}  // namespace tenon
