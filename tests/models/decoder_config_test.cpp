// What Llama, Mistral and Qwen 2 take from a config.json, key by key.
// SPDX-License-Identifier: Apache-2.0
#include "models/decoder_config.h"

#include <gmock/gmock.h>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::bare_config;
using test::error_of;
using test::read_config;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kLlama = "LlamaForCausalLM";
constexpr const char* kMistral = "MistralForCausalLM";
constexpr const char* kQwen = "Qwen2ForCausalLM";

Json with(const char* architecture, std::initializer_list<std::pair<const char*, Json>> members) {
  Json json = bare_config(architecture);
  for (const auto& [key, value] : members) json.set(key, value);
  return json;
}

Json layer_types(std::initializer_list<const char*> names) {
  Json json = Json::array();
  for (const char* name : names) json.push_back(name);
  return json;
}

TEST(DecoderConfig, AbsentKeysTakeTransformersDefaults) {
  const PretrainedConfig llama = read_config(bare_config(kLlama));
  EXPECT_EQ(llama.architecture, kLlama);
  EXPECT_EQ(llama.head_size, 8);
  EXPECT_EQ(llama.hidden_act, "silu");
  EXPECT_EQ(llama.norm_epsilon, 1e-6);
  EXPECT_EQ(llama.rotary_base, 10000.0);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_THAT(llama.eos_token_ids, ElementsAre(2));
  EXPECT_FALSE(llama.share_embedding_table);
  EXPECT_FALSE(llama.qkv_bias || llama.attn_dense_bias || llama.mlp_bias);
  EXPECT_THAT(llama.layer_windows, IsEmpty());

  const PretrainedConfig qwen = read_config(bare_config(kQwen));
  EXPECT_TRUE(qwen.qkv_bias);
  EXPECT_FALSE(qwen.attn_dense_bias);
  EXPECT_EQ(qwen.max_position_embeddings, 32768);
  EXPECT_EQ(qwen.bos_token_id, -1);
  EXPECT_THAT(qwen.layer_windows, IsEmpty());
}

TEST(DecoderConfig, KeyValueHeadsAbsent) {
  Json json = Json::parse(R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 96,
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 16,
    "intermediate_size": 48})",
                          "t");
  EXPECT_EQ(read_config(json).num_key_value_heads, 16);
  json.set("num_key_value_heads", nullptr);
  EXPECT_EQ(read_config(json).num_key_value_heads, 16);
  json.set("architectures", Json(Json::Array{Json(kMistral)}));
  EXPECT_EQ(read_config(json).num_key_value_heads, 8);  // its class's own default
  json.set("num_key_value_heads", 3);
  EXPECT_THAT(error_of([&] { read_config(json); }), HasSubstr("num_key_value_heads is 3"));
}

TEST(DecoderConfig, HeadDimAbsentGivenOrNull) {
  EXPECT_EQ(read_config(with(kLlama, {{"head_dim", 12}})).head_size, 12);
  EXPECT_EQ(read_config(with(kLlama, {{"head_dim", nullptr}})).head_size, 8);
  EXPECT_EQ(read_config(with(kQwen, {{"head_dim", nullptr}})).head_size, 8);
  const Json uneven = with(kLlama, {{"hidden_size", 34}});
  EXPECT_THAT(error_of([&] { read_config(uneven); }), HasSubstr("no head_dim"));
  EXPECT_THAT(error_of([&] { read_config(with(kLlama, {{"head_dim", 7}})); }),
              HasSubstr("rotated features"));
}

TEST(DecoderConfig, DtypeUnderBothNames) {
  EXPECT_EQ(read_config(bare_config(kLlama)).dtype, DataType::kFloat32);
  EXPECT_EQ(read_config(with(kLlama, {{"torch_dtype", "bfloat16"}})).dtype, DataType::kBFloat16);
  EXPECT_EQ(read_config(with(kLlama, {{"dtype", "float16"}})).dtype, DataType::kFloat16);
  const Json both = with(kLlama, {{"dtype", "float16"}, {"torch_dtype", "bfloat16"}});
  EXPECT_THAT(error_of([&] { read_config(both); }), HasSubstr("torch_dtype"));
}

TEST(DecoderConfig, TokensOneOrMany) {
  const Json one = with(kLlama, {{"eos_token_id", 7}, {"bos_token_id", nullptr}});
  EXPECT_THAT(read_config(one).eos_token_ids, ElementsAre(7));
  const Json many =
      with(kLlama, {{"eos_token_id", Json(Json::Array{Json(7), Json(9)})}, {"pad_token_id", 0}});
  EXPECT_THAT(read_config(many).eos_token_ids, ElementsAre(7, 9));
  EXPECT_EQ(read_config(many).pad_token_id, 0);
}

TEST(DecoderConfig, Biases) {
  const PretrainedConfig llama =
      read_config(with(kLlama, {{"attention_bias", true}, {"mlp_bias", true}}));
  EXPECT_TRUE(llama.qkv_bias && llama.attn_dense_bias && llama.mlp_bias);
  EXPECT_THAT(error_of([] { read_config(with(kMistral, {{"attention_bias", true}})); }),
              HasSubstr("\"attention_bias\" is true"));
}

TEST(DecoderConfig, MistralWindow) {
  EXPECT_THAT(read_config(bare_config(kMistral)).layer_windows, ElementsAre(4096, 4096, 4096));
  EXPECT_THAT(read_config(with(kMistral, {{"sliding_window", nullptr}})).layer_windows, IsEmpty());
  EXPECT_THAT(read_config(with(kMistral, {{"sliding_window", 8}})).layer_windows,
              ElementsAre(8, 8, 8));
}

TEST(DecoderConfig, QwenWindow) {
  EXPECT_THAT(read_config(with(kQwen, {{"use_sliding_window", false},
                                       {"sliding_window", 8},
                                       {"max_window_layers", 0}}))
                  .layer_windows,
              IsEmpty());
  EXPECT_THAT(read_config(with(kQwen, {{"use_sliding_window", true},
                                       {"sliding_window", 8},
                                       {"max_window_layers", 1}}))
                  .layer_windows,
              ElementsAre(0, 8, 8));
  const Json types = layer_types({"sliding_attention", "full_attention", "sliding_attention"});
  EXPECT_THAT(read_config(with(kQwen, {{"use_sliding_window", true},
                                       {"sliding_window", 8},
                                       {"layer_types", types}}))
                  .layer_windows,
              ElementsAre(8, 0, 8));
  EXPECT_THAT(error_of([&] { read_config(with(kQwen, {{"layer_types", types}})); }),
              HasSubstr("no sliding_window in use"));
}

TEST(DecoderConfig, LayerTypesAreChecked) {
  const Json full = layer_types({"full_attention", "full_attention", "full_attention"});
  EXPECT_THAT(read_config(with(kLlama, {{"layer_types", full}})).layer_windows, IsEmpty());
  EXPECT_THAT(error_of([] {
                read_config(with(kLlama, {{"layer_types", layer_types({"full_attention"})}}));
              }),
              HasSubstr("layer_types has 1 entries, expected num_hidden_layers, 3"));
  const Json odd = layer_types({"full_attention", "linear_attention", "full_attention"});
  EXPECT_THAT(error_of([&] { read_config(with(kLlama, {{"layer_types", odd}})); }),
              HasSubstr("linear_attention"));
}

TEST(DecoderConfig, HarmlessKeysAreIgnored) {
  const Json json = with(kLlama, {{"attention_dropout", 0.1},
                                  {"pretraining_tp", 4},
                                  {"use_cache", false},
                                  {"transformers_version", "4.1"},
                                  {"rope_interleaved", false},
                                  {"is_llama_config", true},
                                  {"quantization_config", nullptr},
                                  {"model_type", "llama"}});
  EXPECT_NO_THROW(read_config(json));
}

TEST(DecoderConfig, KeysThatChangeTheMathematicsAreNamed) {
  const std::pair<const char*, Json> kKeys[] = {
      {"attn_logit_softcapping", 50.0},
      {"partial_rotary_factor", 0.5},
      {"logit_scale", 0.06},
      {"embedding_multiplier", 12},
      {"attention_multiplier", 0.02},
      {"clip_qkv", 8.0},
      {"qk_layernorm", true},
      {"rope_interleaved", true},
      {"use_mrope", true},
      {"sliding_window", 8},
      {"num_local_experts", 8},
      {"brand_new_trick", 1},
      {"quantization_config", Json::parse(R"({"bits": 4})", "t")}};
  for (const auto& [key, value] : kKeys) {
    const Json json = with(kLlama, {{key, value}});
    EXPECT_THAT(error_of([&] { read_config(json); }), HasSubstr(std::string("\"") + key + "\""));
  }
}

TEST(DecoderConfig, HostileSizesAreErrors) {
  const std::pair<const char*, Json> kKeys[] = {{"hidden_size", 0},
                                                {"hidden_size", std::int64_t{1} << 62},
                                                {"num_hidden_layers", std::int64_t{1} << 40},
                                                {"num_attention_heads", 0},
                                                {"num_key_value_heads", -2},
                                                {"vocab_size", -1},
                                                {"rms_norm_eps", 0.0},
                                                {"rope_theta", -1.0},
                                                {"num_hidden_layers", 2.5},
                                                {"intermediate_size", "many"}};
  for (const auto& [key, value] : kKeys) {
    const Json json = with(kMistral, {{key, value}});
    EXPECT_NE(error_of([&] { read_config(json); }), "no error") << key;
  }
}

}  // namespace
}  // namespace tenon
