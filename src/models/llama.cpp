// Llama 2, 3, 3.1, 3.2 and what shares their architecture (SmolLM2, Yi, TinyLlama, …).
// SPDX-License-Identifier: Apache-2.0
#include "models/decoder.h"
#include "models/decoder_config.h"
#include "models/families.h"

namespace tenon {
namespace {

constexpr GgufDecoder kGguf{
    .gguf_architecture = "llama", .architecture = "LlamaForCausalLM", .pairs = true};

PretrainedConfig config_from_hugging_face(const Json& json, std::string_view where) {
  ConfigReader reader(json, std::string(where));
  PretrainedConfig config =
      read_decoder_config(reader, kGguf.architecture, {.bos_token_id = 1, .eos_token_ids = {2}});
  config.qkv_bias = config.attn_dense_bias = reader.boolean("attention_bias", false);
  config.mlp_bias = reader.boolean("mlp_bias", false);
  layer_windows(reader, read_layer_types(reader, config.num_hidden_layers),
                config.num_hidden_layers, 0, 0);  // none of them may slide
  return finish_decoder_config(reader, config);
}

PretrainedConfig config_from_gguf(const GgufMetadata& metadata, const TensorSource& tensors,
                                  std::string_view where) {
  return decoder_config_from_gguf(kGguf, metadata, tensors, where);
}

WeightMap gguf_weights(const PretrainedConfig& config) {
  return decoder_gguf_weights(config, kGguf.pairs);
}

constexpr std::string_view kAliases[] = {"LLaMAForCausalLM"};

}  // namespace

constinit const ModelFamily kLlamaFamily{.architecture = kGguf.architecture,
                                         .aliases = kAliases,
                                         .gguf_architecture = kGguf.gguf_architecture,
                                         .config_from_hugging_face = config_from_hugging_face,
                                         .config_from_gguf = config_from_gguf,
                                         .hugging_face_weights = decoder_hugging_face_weights,
                                         .gguf_weights = gguf_weights,
                                         .build = build_decoder};

}  // namespace tenon
