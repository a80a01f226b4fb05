// SPDX-License-Identifier: Apache-2.0
#include "models/decoder_config.h"

#include <algorithm>

#include "checkpoint/config_json.h"
#include "checkpoint/layer_kind.h"
#include "core/check.h"
#include "core/dtype.h"
#include "models/rope_config.h"

namespace tenon {
namespace {

DataType read_dtype(ConfigReader& reader) {
  const std::string old_name = reader.text("torch_dtype", "");
  const std::string name = reader.text("dtype", old_name);
  TENON_CHECK(old_name.empty() || old_name == name, ErrorCode::kCorrupt,
              "{}: dtype is \"{}\" and torch_dtype \"{}\"", reader.where(), name, old_name);
  return name.empty() ? DataType::kFloat32 : parse_data_type(name, reader.where() + ": dtype");
}

void read_tokens(ConfigReader& reader, const DecoderDefaults& defaults, PretrainedConfig& config) {
  config.bos_token_id = reader.integer("bos_token_id", defaults.bos_token_id);
  config.eos_token_ids = reader.integers("eos_token_id");
  if (config.eos_token_ids.empty()) config.eos_token_ids = defaults.eos_token_ids;
  config.pad_token_id = reader.integer("pad_token_id", -1);
  // Old files mark an absent token by a number below zero.
  std::erase_if(config.eos_token_ids, [](std::int64_t id) { return id < 0; });
}

std::int64_t read_head_size(ConfigReader& reader, const PretrainedConfig& config) {
  if (reader.has("head_dim")) return reader.integer("head_dim");
  reader.raw("head_dim");
  TENON_CHECK(
      config.num_attention_heads > 0 && config.hidden_size % config.num_attention_heads == 0,
      ErrorCode::kCorrupt,
      "{}: there is no head_dim, and num_attention_heads, {}, does not divide hidden_size, "
      "{}",
      reader.where(), config.num_attention_heads, config.hidden_size);
  return config.hidden_size / config.num_attention_heads;
}

}  // namespace

std::vector<std::string> read_layer_types(ConfigReader& reader, std::int64_t layers) {
  std::vector<std::string> types = reader.texts("layer_types");
  if (types.empty()) return types;
  TENON_CHECK(static_cast<std::int64_t>(types.size()) == layers, ErrorCode::kCorrupt,
              "{}: layer_types has {} entries, expected num_hidden_layers, {}", reader.where(),
              types.size(), layers);
  for (const std::string& type : types)
    TENON_CHECK(type == kFullAttention || type == kSlidingAttention, ErrorCode::kUnsupported,
                "{}: layer_types has \"{}\"; only full_attention and sliding_attention are "
                "supported",
                reader.where(), type);
  return types;
}

PretrainedConfig read_decoder_config(ConfigReader& reader, std::string_view architecture,
                                     const DecoderDefaults& defaults) {
  PretrainedConfig config;
  config.architecture = architecture;
  config.dtype = read_dtype(reader);
  config.vocab_size = reader.integer("vocab_size");
  config.hidden_size = reader.integer("hidden_size");
  config.num_hidden_layers = reader.integer("num_hidden_layers");
  TENON_CHECK(config.num_hidden_layers >= 1 && config.num_hidden_layers <= kMaxLayers,
              ErrorCode::kCorrupt, "{}: num_hidden_layers is {}, expected 1 to {}", reader.where(),
              config.num_hidden_layers, kMaxLayers);
  config.num_attention_heads = reader.integer("num_attention_heads");
  const std::int64_t kv_heads = defaults.num_key_value_heads;
  config.num_key_value_heads =
      reader.integer("num_key_value_heads", kv_heads > 0 ? kv_heads : config.num_attention_heads);
  config.head_size = read_head_size(reader, config);
  config.intermediate_size = reader.integer("intermediate_size");
  config.hidden_act = reader.text("hidden_act", "silu");
  config.norm_epsilon = reader.number("rms_norm_eps", defaults.rms_norm_eps);
  config.max_position_embeddings =
      reader.integer("max_position_embeddings", defaults.max_position_embeddings);
  config.share_embedding_table = reader.boolean("tie_word_embeddings", false);
  read_tokens(reader, defaults, config);
  config.rotary_base = defaults.rope_theta;
  return config;
}

std::vector<std::int64_t> layer_windows(const ConfigReader& reader,
                                        const std::vector<std::string>& layer_types,
                                        std::int64_t layers, std::int64_t window,
                                        std::int64_t first_layer) {
  const bool any_sliding =
      std::find(layer_types.begin(), layer_types.end(), kSlidingAttention) != layer_types.end();
  TENON_CHECK(window > 0 || !any_sliding, ErrorCode::kCorrupt,
              "{}: layer_types asks for sliding_attention, but there is no sliding_window in use",
              reader.where());
  if (window <= 0 || layers <= 0) return {};
  std::vector<std::int64_t> windows;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool slides = layer_types.empty()
                            ? i >= first_layer
                            : layer_types[static_cast<std::size_t>(i)] == kSlidingAttention;
    windows.push_back(slides ? window : 0);
  }
  const bool none =
      std::all_of(windows.begin(), windows.end(), [](std::int64_t value) { return value == 0; });
  return none ? std::vector<std::int64_t>{} : windows;
}

PretrainedConfig finish_decoder_config(ConfigReader& reader, PretrainedConfig config) {
  read_rope(reader, config);
  reader.ignore(harmless_config_keys());
  reader.require_neutral(neutral_config_keys());
  reader.finish();
  check_config(config, reader.where());
  return config;
}

}  // namespace tenon
