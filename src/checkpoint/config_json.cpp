// One table of fields per struct gives both directions, so that no field can be written and not
// read back.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_json.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "core/check.h"
#include "core/dtype.h"
#include "core/nearest_name.h"

namespace tenon {
namespace {

template <class Struct, class T>
struct ConfigField {
  const char* name;
  T Struct::*member;
};
template <class Struct, class T>
ConfigField(const char*, T Struct::*) -> ConfigField<Struct, T>;

auto fields_of(const RopeScaling*) {
  using C = RopeScaling;
  return std::tuple(
      ConfigField{"type", &C::type}, ConfigField{"factor", &C::factor},
      ConfigField{"low_freq_factor", &C::low_freq_factor},
      ConfigField{"high_freq_factor", &C::high_freq_factor},
      ConfigField{"beta_fast", &C::beta_fast}, ConfigField{"beta_slow", &C::beta_slow},
      ConfigField{"attention_factor", &C::attention_factor}, ConfigField{"mscale", &C::mscale},
      ConfigField{"mscale_all_dim", &C::mscale_all_dim}, ConfigField{"truncate", &C::truncate},
      ConfigField{"original_max_position_embeddings", &C::original_max_position_embeddings},
      ConfigField{"short_factor", &C::short_factor}, ConfigField{"long_factor", &C::long_factor},
      ConfigField{"frequency_factors", &C::frequency_factors});
}

auto fields_of(const LayerRotary*) {
  using C = LayerRotary;
  return std::tuple(ConfigField{"rotary_base", &C::rotary_base},
                    ConfigField{"rotary_scaling", &C::rotary_scaling});
}

auto fields_of(const QuantConfig*) {
  using C = QuantConfig;
  return std::tuple(ConfigField{"quant_algo", &C::quant_algo},
                    ConfigField{"kv_cache_quant_algo", &C::kv_cache_quant_algo},
                    ConfigField{"group_size", &C::group_size},
                    ConfigField{"exclude_modules", &C::exclude_modules});
}

auto fields_of(const Mapping*) {
  using C = Mapping;
  return std::tuple(ConfigField{"world_size", &C::world_size}, ConfigField{"tp_size", &C::tp_size},
                    ConfigField{"pp_size", &C::pp_size}, ConfigField{"cp_size", &C::cp_size},
                    ConfigField{"moe_tp_size", &C::moe_tp_size},
                    ConfigField{"moe_ep_size", &C::moe_ep_size});
}

auto fields_of(const PretrainedConfig*) {
  using C = PretrainedConfig;
  return std::tuple(
      ConfigField{"architecture", &C::architecture}, ConfigField{"dtype", &C::dtype},
      ConfigField{"vocab_size", &C::vocab_size}, ConfigField{"hidden_size", &C::hidden_size},
      ConfigField{"num_hidden_layers", &C::num_hidden_layers},
      ConfigField{"num_attention_heads", &C::num_attention_heads},
      ConfigField{"num_key_value_heads", &C::num_key_value_heads},
      ConfigField{"head_size", &C::head_size},
      ConfigField{"intermediate_size", &C::intermediate_size},
      ConfigField{"hidden_act", &C::hidden_act}, ConfigField{"norm_epsilon", &C::norm_epsilon},
      ConfigField{"position_embedding_type", &C::position_embedding_type},
      ConfigField{"max_position_embeddings", &C::max_position_embeddings},
      ConfigField{"rotary_base", &C::rotary_base},
      ConfigField{"rotary_embedding_dim", &C::rotary_embedding_dim},
      ConfigField{"rotary_scaling", &C::rotary_scaling},
      ConfigField{"layer_rotary", &C::layer_rotary}, ConfigField{"qkv_bias", &C::qkv_bias},
      ConfigField{"attn_dense_bias", &C::attn_dense_bias}, ConfigField{"mlp_bias", &C::mlp_bias},
      ConfigField{"share_embedding_table", &C::share_embedding_table},
      ConfigField{"layer_windows", &C::layer_windows},
      ConfigField{"bos_token_id", &C::bos_token_id},
      ConfigField{"eos_token_ids", &C::eos_token_ids},
      ConfigField{"pad_token_id", &C::pad_token_id}, ConfigField{"quantization", &C::quantization},
      ConfigField{"mapping", &C::mapping}, ConfigField{"extra", &C::extra});
}

auto fields_of(const BuildConfig*) {
  using C = BuildConfig;
  return std::tuple(ConfigField{"max_batch_size", &C::max_batch_size},
                    ConfigField{"max_input_len", &C::max_input_len},
                    ConfigField{"max_seq_len", &C::max_seq_len},
                    ConfigField{"max_beam_width", &C::max_beam_width},
                    ConfigField{"max_num_tokens", &C::max_num_tokens},
                    ConfigField{"opt_num_tokens", &C::opt_num_tokens},
                    ConfigField{"kv_cache_type", &C::kv_cache_type},
                    ConfigField{"tokens_per_block", &C::tokens_per_block},
                    ConfigField{"gather_context_logits", &C::gather_context_logits},
                    ConfigField{"gather_generation_logits", &C::gather_generation_logits},
                    ConfigField{"remove_input_padding", &C::remove_input_padding},
                    ConfigField{"use_paged_context_fmha", &C::use_paged_context_fmha},
                    ConfigField{"logits_dtype", &C::logits_dtype});
}

template <class T>
concept HasFields = requires(const T* value) { fields_of(value); };

// ------------------------------------------------------------------------------------- writing

Json value_to_json(bool value) { return Json(value); }
Json value_to_json(int value) { return Json(value); }
Json value_to_json(std::int64_t value) { return Json(value); }
Json value_to_json(double value) { return Json(value); }
Json value_to_json(const std::string& value) { return Json(value); }
Json value_to_json(DataType value) { return Json(to_string(value)); }
Json value_to_json(PositionEmbeddingType value) { return Json(to_string(value)); }

template <class T>
Json value_to_json(const std::optional<T>& value) {
  return value ? value_to_json(*value) : Json();
}

template <class T>
Json value_to_json(const std::vector<T>& values) {
  Json json = Json::array();
  for (const T& value : values) json.push_back(value_to_json(value));
  return json;
}

template <HasFields T>
Json value_to_json(const T& value);

template <class T>
Json value_to_json(const std::map<std::string, T>& values) {
  Json json = Json::object();
  for (const auto& [key, value] : values) json.set(key, value_to_json(value));
  return json;
}

template <HasFields T>
Json value_to_json(const T& value) {
  Json json = Json::object();
  std::apply(
      [&](const auto&... field) {
        (json.set(field.name, value_to_json(value.*field.member)), ...);
      },
      fields_of(&value));
  return json;
}

// ------------------------------------------------------------------------------------- reading

void value_from_json(const Json& json, const std::string& what, bool& out) {
  out = json.as_bool(what);
}
void value_from_json(const Json& json, const std::string& what, std::int64_t& out) {
  out = json.as_int(what);
}
void value_from_json(const Json& json, const std::string& what, int& out) {
  const std::int64_t value = json.as_int(what);
  TENON_CHECK(value >= std::numeric_limits<int>::min() && value <= std::numeric_limits<int>::max(),
              ErrorCode::kCorrupt, "{}: {} is out of range", what, value);
  out = static_cast<int>(value);
}
void value_from_json(const Json& json, const std::string& what, double& out) {
  out = json.as_double(what);
}
void value_from_json(const Json& json, const std::string& what, std::string& out) {
  out = json.as_string(what);
}
void value_from_json(const Json& json, const std::string& what, DataType& out) {
  out = parse_data_type(json.as_string(what), what);
}
void value_from_json(const Json& json, const std::string& what, PositionEmbeddingType& out) {
  out = parse_position_embedding_type(json.as_string(what), what);
}

template <class T>
void value_from_json(const Json& json, const std::string& what, std::optional<T>& out) {
  out.reset();
  if (!json.is_null()) value_from_json(json, what, out.emplace());
}

template <class T>
void value_from_json(const Json& json, const std::string& what, std::vector<T>& out) {
  out.clear();
  for (const Json& element : json.as_array(what))
    value_from_json(element, what, out.emplace_back());
}

template <HasFields T>
void value_from_json(const Json& json, const std::string& what, T& out);

template <class T>
void value_from_json(const Json& json, const std::string& what, std::map<std::string, T>& out) {
  out.clear();
  for (const auto& [key, value] : json.as_object(what))
    value_from_json(value, what + ": " + key, out[key]);
}

template <HasFields T>
void value_from_json(const Json& json, const std::string& what, T& out) {
  std::vector<std::string> known;
  const auto fields = fields_of(&out);
  std::apply([&](const auto&... field) { (known.emplace_back(field.name), ...); }, fields);
  for (const auto& [key, value] : json.as_object(what)) {
    TENON_CHECK(std::find(known.begin(), known.end(), key) != known.end(), ErrorCode::kCorrupt,
                "{}: unknown key \"{}\"{}", what, key, did_you_mean(key, known));
  }
  const auto read = [&](const auto& field) {
    if (const Json* value = json.find(field.name))
      value_from_json(*value, what + ": " + field.name, out.*field.member);
  };
  std::apply([&](const auto&... field) { (read(field), ...); }, fields);
}

constexpr const char* kPositionNames[] = {
    "none",     "learned_absolute", "rope_gpt_neox", "rope_gptj", "alibi",
    "relative", "chatglm",          "yarn",          "long_rope"};

}  // namespace

const char* to_string(PositionEmbeddingType type) noexcept {
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(kPositionNames) ? kPositionNames[index] : "unknown";
}

PositionEmbeddingType parse_position_embedding_type(std::string_view name, std::string_view where) {
  for (std::size_t i = 0; i < std::size(kPositionNames); ++i)
    if (name == kPositionNames[i]) return static_cast<PositionEmbeddingType>(i);
  const std::vector<std::string> known(std::begin(kPositionNames), std::end(kPositionNames));
  fail(ErrorCode::kCorrupt, "{}: unknown position embedding \"{}\"{}", where, name,
       did_you_mean(name, known));
}

Json to_json(const PretrainedConfig& config) { return value_to_json(config); }
Json to_json(const BuildConfig& config) { return value_to_json(config); }

PretrainedConfig pretrained_config_from_json(const Json& json, std::string_view where) {
  PretrainedConfig config;
  value_from_json(json, std::string(where), config);
  check_config(config, where);
  return config;
}

QuantConfig quant_config_from_json(const Json& json, std::string_view where) {
  QuantConfig config;
  value_from_json(json, std::string(where), config);
  check_config(config, where);
  return config;
}

BuildConfig build_config_from_json(const Json& json, std::string_view where) {
  BuildConfig config;
  value_from_json(json, std::string(where), config);
  check_config(config);
  return config;
}

}  // namespace tenon
