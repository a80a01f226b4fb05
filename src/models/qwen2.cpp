// Qwen 1.5, 2 and 2.5: Llama's block with biases on Q, K and V; layers from max_window_layers on
// may slide.
// SPDX-License-Identifier: Apache-2.0
#include "models/decoder.h"
#include "models/decoder_config.h"
#include "models/families.h"

namespace tenon {
namespace {

constexpr GgufDecoder kGguf{
    .gguf_architecture = "qwen2", .architecture = "Qwen2ForCausalLM", .qkv_bias = true};

PretrainedConfig config_from_hugging_face(const Json& json, std::string_view where) {
  ConfigReader reader(json, std::string(where));
  PretrainedConfig config = read_decoder_config(
      reader, kGguf.architecture, {.num_key_value_heads = 32, .max_position_embeddings = 32768});
  config.qkv_bias = true;
  const std::int64_t layers = config.num_hidden_layers;
  const bool slides = reader.boolean("use_sliding_window", false);
  const std::int64_t given =
      reader.integer("sliding_window", reader.given("sliding_window") ? 0 : 4096);
  const std::int64_t first = reader.integer("max_window_layers", 28);
  config.layer_windows =
      layer_windows(reader, read_layer_types(reader, layers), layers, slides ? given : 0, first);
  return finish_decoder_config(reader, config);
}

PretrainedConfig config_from_gguf(const GgufMetadata& metadata, const TensorSource& tensors,
                                  std::string_view where) {
  return decoder_config_from_gguf(kGguf, metadata, tensors, where);
}

WeightMap gguf_weights(const PretrainedConfig& config) {
  return decoder_gguf_weights(config, kGguf.pairs);
}

}  // namespace

constinit const ModelFamily kQwen2Family{.architecture = kGguf.architecture,
                                         .aliases = {},
                                         .gguf_architecture = kGguf.gguf_architecture,
                                         .config_from_hugging_face = config_from_hugging_face,
                                         .config_from_gguf = config_from_gguf,
                                         .hugging_face_weights = decoder_hugging_face_weights,
                                         .gguf_weights = gguf_weights,
                                         .build = build_decoder};

}  // namespace tenon
