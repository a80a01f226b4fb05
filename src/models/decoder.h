// The decoder that Llama, Mistral and Qwen 2 share: pre-norm blocks of grouped-query attention with
// rotary positions and a gated MLP. A family whose block differs composes its own from layers/.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "checkpoint/gguf_value.h"
#include "checkpoint/tensor_source.h"
#include "checkpoint/weight_map.h"
#include "graph/programs.h"
#include "tenon/config.h"

namespace tenon {

/// Program "decoder". Inputs: token_ids, positions int32 [T], logit_rows int32 [L]; output: logits
/// float32 [L, vocab_size].
ModelGraphs build_decoder(const PretrainedConfig& config, const BuildConfig& build);

WeightMap decoder_hugging_face_weights(const PretrainedConfig& config);

/// Names of llama.cpp. With `pairs` the rows of Q and K are interleaved pairs, as its converter
/// writes them for "llama".
WeightMap decoder_gguf_weights(const PretrainedConfig& config, bool pairs);

struct GgufDecoder {
  std::string_view gguf_architecture;  ///< prefix of the metadata keys
  std::string_view architecture;
  bool qkv_bias = false;  ///< always; otherwise where the file has such tensors
  bool pairs = false;     ///< see decoder_gguf_weights
};

PretrainedConfig decoder_config_from_gguf(const GgufDecoder& decoder, const GgufMetadata& metadata,
                                          const TensorSource& tensors, std::string_view where);

}  // namespace tenon
