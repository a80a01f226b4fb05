// The shared decoder's config from a GGUF file's metadata and, where llama.cpp looks there too,
// from which tensors the file has.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "checkpoint/config_json.h"
#include "core/check.h"
#include "models/decoder.h"
#include "models/gguf_reader.h"

namespace tenon {
namespace {

constexpr std::int64_t kMaxFactors = 4096;

void read_sizes(GgufReader& reader, const TensorSource& tensors, PretrainedConfig& config) {
  config.hidden_size = reader.integer("embedding_length");
  config.num_hidden_layers = reader.integer("block_count");
  config.num_attention_heads = reader.per_layer("attention.head_count");
  config.num_key_value_heads =
      reader.per_layer("attention.head_count_kv", config.num_attention_heads);
  config.intermediate_size = reader.per_layer("feed_forward_length");
  config.norm_epsilon = reader.number("attention.layer_norm_rms_epsilon");
  config.max_position_embeddings = reader.integer("context_length");
  TENON_CHECK(config.num_attention_heads > 0, ErrorCode::kCorrupt,
              "{}: attention.head_count is {}, expected a positive number", reader.where(),
              config.num_attention_heads);
  config.head_size =
      reader.integer("attention.key_length", config.hidden_size / config.num_attention_heads);
  const std::int64_t value_size = reader.integer("attention.value_length", config.head_size);
  TENON_CHECK(value_size == config.head_size, ErrorCode::kUnsupported,
              "{}: attention.value_length is {} and attention.key_length {}; values of another "
              "length than keys are not supported",
              reader.where(), value_size, config.head_size);

  const TensorInfo* embedding = tensors.find("token_embd.weight");
  TENON_CHECK(embedding != nullptr && embedding->shape.size() == 2, ErrorCode::kCorrupt,
              "{}: there is no table token_embd.weight", reader.where());
  config.vocab_size = embedding->shape[0];
  const std::int64_t stated = reader.integer("vocab_size", config.vocab_size);
  TENON_CHECK(stated <= config.vocab_size, ErrorCode::kCorrupt,
              "{}: vocab_size is {}, and token_embd.weight has {} rows", reader.where(), stated,
              config.vocab_size);
  config.dtype = embedding->spec.is_float() ? embedding->spec.float_type : DataType::kFloat16;
}

/// Divisors of the frequencies, which llama.cpp's converter computes from Llama 3.1's settings.
std::vector<double> frequency_factors(const TensorSource& tensors, const std::string& where) {
  const TensorInfo* info = tensors.find("rope_freqs.weight");
  if (info == nullptr) return {};
  TENON_CHECK(info->shape.size() == 1 && info->shape[0] <= kMaxFactors, ErrorCode::kCorrupt,
              "{}: rope_freqs.weight is {}, expected one value per rotated pair", where,
              to_string(info->shape));
  const Tensor values = dequantize(tensors.load("rope_freqs.weight"));
  const float* data = values.view().as<float>();
  return std::vector<double>(data, data + values.view().elements());
}

void read_rope(GgufReader& reader, const TensorSource& tensors, bool pairs,
               PretrainedConfig& config) {
  config.rotary_base = reader.number("rope.freq_base", 10000.0);
  const std::int64_t rotated = reader.integer("rope.dimension_count", config.head_size);
  TENON_CHECK(!pairs || rotated == config.head_size, ErrorCode::kUnsupported,
              "{}: rope.dimension_count is {} of {} features of a head; a part of them is not "
              "supported for this architecture",
              reader.where(), rotated, config.head_size);
  config.rotary_embedding_dim = rotated == config.head_size ? 0 : rotated;

  RopeScaling& scaling = config.rotary_scaling;
  // A factor without a type is linear, as llama.cpp takes it.
  scaling.factor = reader.number("rope.scaling.factor", reader.number("rope.scale_linear", 1.0));
  const std::string type =
      reader.text("rope.scaling.type", scaling.factor != 1.0 ? "linear" : "none");
  const std::int64_t original = reader.integer("rope.scaling.original_context_length", 0);
  const double amplitude = reader.number("rope.scaling.attn_factor", 1.0);
  if (type == "linear") {
    scaling.type = "linear";
  } else if (type == "yarn") {
    scaling.type = "yarn";
    scaling.original_max_position_embeddings = original;
    scaling.beta_fast = reader.number("rope.scaling.yarn_beta_fast", 32.0);
    scaling.beta_slow = reader.number("rope.scaling.yarn_beta_slow", 1.0);
    config.position_embedding_type = PositionEmbeddingType::kYarn;
  } else {
    TENON_CHECK(type == "none", ErrorCode::kUnsupported,
                "{}: rope.scaling.type \"{}\" is not supported; none, linear and yarn are",
                reader.where(), type);
    scaling.factor = 1.0;
  }
  TENON_CHECK(amplitude == 1.0, ErrorCode::kUnsupported,
              "{}: rope.scaling.attn_factor is {}; only 1 is supported", reader.where(), amplitude);
  scaling.frequency_factors = frequency_factors(tensors, reader.where());
}

void read_tokens(const GgufMetadata& metadata, const std::string& where, PretrainedConfig& config) {
  const auto id = [&](const std::string& key) {
    const GgufValue* value = metadata.find("tokenizer.ggml." + key);
    return value != nullptr ? value->as_int(where + ": tokenizer.ggml." + key) : -1;
  };
  config.bos_token_id = id("bos_token_id");
  config.pad_token_id = id("padding_token_id");
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    const std::int64_t end = id(key);
    auto& ids = config.eos_token_ids;
    if (end >= 0 && std::find(ids.begin(), ids.end(), end) == ids.end()) ids.push_back(end);
  }
}

void require_zero(GgufReader& reader, std::span<const char* const> keys) {
  for (const char* key : keys) {
    const double value = reader.number(key, 0.0);
    TENON_CHECK(value == 0.0, ErrorCode::kUnsupported,
                "{}: {} is {}, which changes what the model computes and is not supported yet",
                reader.where(), key, value);
  }
}

}  // namespace

PretrainedConfig decoder_config_from_gguf(const GgufDecoder& decoder, const GgufMetadata& metadata,
                                          const TensorSource& tensors, std::string_view where) {
  GgufReader reader(metadata, decoder.gguf_architecture, std::string(where));
  PretrainedConfig config;
  config.architecture = decoder.architecture;
  read_sizes(reader, tensors, config);
  read_rope(reader, tensors, decoder.pairs, config);
  read_tokens(metadata, reader.where(), config);
  const std::int64_t window = reader.integer("attention.sliding_window", 0);
  if (window > 0)
    config.layer_windows.assign(
        static_cast<std::size_t>(std::clamp<std::int64_t>(config.num_hidden_layers, 0, kMaxLayers)),
        window);

  const auto has = [&](const char* name) { return tensors.find(name) != nullptr; };
  config.qkv_bias = decoder.qkv_bias || has("blk.0.attn_q.bias");
  config.attn_dense_bias = has("blk.0.attn_output.bias");
  config.mlp_bias = has("blk.0.ffn_down.bias");
  config.share_embedding_table = !has("output.weight");

  static constexpr const char* kZero[] = {
      "expert_count",    "expert_used_count", "attention.scale",        "logit_scale",
      "embedding_scale", "residual_scale",    "attn_logit_softcapping", "final_logit_softcapping"};
  require_zero(reader, kZero);
  static constexpr const char* kHarmless[] = {"rope.scaling.finetuned", "tensor_data_layout"};
  reader.ignore(kHarmless);
  reader.finish();
  check_config(config, where);
  return config;
}

}  // namespace tenon
