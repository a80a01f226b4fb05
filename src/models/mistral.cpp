// Mistral 7B: Llama's block with a sliding window over all layers in its first version. As GGUF it
// calls itself "llama".
// SPDX-License-Identifier: Apache-2.0
#include "models/decoder.h"
#include "models/decoder_config.h"
#include "models/families.h"

namespace tenon {
namespace {

constexpr std::string_view kArchitecture = "MistralForCausalLM";

PretrainedConfig config_from_hugging_face(const Json& json, std::string_view where) {
  ConfigReader reader(json, std::string(where));
  PretrainedConfig config = read_decoder_config(reader, kArchitecture,
                                                {.num_key_value_heads = 8,
                                                 .max_position_embeddings = 131072,
                                                 .bos_token_id = 1,
                                                 .eos_token_ids = {2}});
  const std::int64_t layers = config.num_hidden_layers;
  // transformers takes 4096 where the key is absent, and no window where it is null.
  const std::int64_t window =
      reader.integer("sliding_window", reader.given("sliding_window") ? 0 : 4096);
  config.layer_windows = layer_windows(reader, read_layer_types(reader, layers), layers, window, 0);
  return finish_decoder_config(reader, config);
}

WeightMap gguf_weights(const PretrainedConfig& config) {
  return decoder_gguf_weights(config, true);
}

}  // namespace

constinit const ModelFamily kMistralFamily{.architecture = kArchitecture,
                                           .aliases = {},
                                           .gguf_architecture = {},
                                           .config_from_hugging_face = config_from_hugging_face,
                                           .config_from_gguf = nullptr,
                                           .hugging_face_weights = decoder_hugging_face_weights,
                                           .gguf_weights = gguf_weights,
                                           .build = build_decoder};

}  // namespace tenon
