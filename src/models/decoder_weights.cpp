// Weight maps of the shared decoder: one table of logical names against those of Hugging Face and
// of llama.cpp.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>

#include "models/decoder.h"

namespace tenon {
namespace {

enum class Part : std::uint8_t { kNorm, kQuery, kKey, kValue, kDense, kMlp };

struct LayerWeight {
  const char* name;
  const char* hugging_face;
  const char* gguf;
  Part part;
};

constexpr LayerWeight kLayerWeights[] = {
    {"input_layernorm", "input_layernorm", "attn_norm", Part::kNorm},
    {"attention.q", "self_attn.q_proj", "attn_q", Part::kQuery},
    {"attention.k", "self_attn.k_proj", "attn_k", Part::kKey},
    {"attention.v", "self_attn.v_proj", "attn_v", Part::kValue},
    {"attention.dense", "self_attn.o_proj", "attn_output", Part::kDense},
    {"post_layernorm", "post_attention_layernorm", "ffn_norm", Part::kNorm},
    {"mlp.fc", "mlp.gate_proj", "ffn_gate", Part::kMlp},
    {"mlp.gate", "mlp.up_proj", "ffn_up", Part::kMlp},
    {"mlp.proj", "mlp.down_proj", "ffn_down", Part::kMlp},
};

bool has_bias(const PretrainedConfig& config, Part part) {
  switch (part) {
    case Part::kNorm: return false;
    case Part::kQuery:
    case Part::kKey:
    case Part::kValue: return config.qkv_bias;
    case Part::kDense: return config.attn_dense_bias;
    case Part::kMlp: return config.mlp_bias;
  }
  return false;
}

void add_layer_rules(const PretrainedConfig& config, const LayerWeight& weight,
                     const std::string& name, const std::string& source, bool pairs,
                     WeightMap& map) {
  const bool rotated = weight.part == Part::kQuery || weight.part == Part::kKey;
  const std::int64_t unpermute = pairs && rotated ? config.head_size : 0;
  map.rules.push_back(
      {.name = name + ".weight", .source = source + ".weight", .unpermute_head = unpermute});
  if (has_bias(config, weight.part))
    map.rules.push_back(
        {.name = name + ".bias", .source = source + ".bias", .unpermute_head = unpermute});
}

struct Ends {
  const char* embedding;
  const char* norm;
  const char* head;
};

void add_ends(const PretrainedConfig& config, const Ends& ends, WeightMap& map) {
  map.rules.push_back({.name = "transformer.vocab_embedding.weight", .source = ends.embedding});
  map.rules.push_back({.name = "transformer.ln_f.weight", .source = ends.norm});
  if (config.share_embedding_table)
    map.ignored_suffixes.emplace_back(ends.head);  // some files hold the tied table twice
  else
    map.rules.push_back({.name = "lm_head.weight", .source = ends.head});
}

}  // namespace

WeightMap decoder_hugging_face_weights(const PretrainedConfig& config) {
  WeightMap map;
  add_ends(config, {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}, map);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
    for (const LayerWeight& weight : kLayerWeights)
      add_layer_rules(config, weight, fmt::format("transformer.layers.{}.{}", i, weight.name),
                      fmt::format("model.layers.{}.{}", i, weight.hugging_face), false, map);
  map.ignored_suffixes.emplace_back("rotary_emb.inv_freq");  // computed from the config
  return map;
}

WeightMap decoder_gguf_weights(const PretrainedConfig& config, bool pairs) {
  WeightMap map;
  add_ends(config, {"token_embd.weight", "output_norm.weight", "output.weight"}, map);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i)
    for (const LayerWeight& weight : kLayerWeights)
      add_layer_rules(config, weight, fmt::format("transformer.layers.{}.{}", i, weight.name),
                      fmt::format("blk.{}.{}", i, weight.gguf), pairs, map);
  map.ignored_suffixes.emplace_back("rope_freqs.weight");  // read with the config
  return map;
}

}  // namespace tenon
