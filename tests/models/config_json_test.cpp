// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_json.h"

#include <gmock/gmock.h>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::error_of;
using testing::HasSubstr;

/// No field at its default.
PretrainedConfig unusual_config() {
  PretrainedConfig c;
  c.architecture = "LlamaForCausalLM";
  c.dtype = DataType::kBFloat16;
  c.vocab_size = 99;
  c.hidden_size = 32;
  c.num_hidden_layers = 2;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_size = 12;
  c.intermediate_size = 48;
  c.hidden_act = "gelu";
  c.norm_epsilon = 0.1 + 0.2;  // needs all its digits
  c.position_embedding_type = PositionEmbeddingType::kLongRope;
  c.max_position_embeddings = 128;
  c.rotary_base = 5e5;
  c.rotary_embedding_dim = 4;
  c.rotary_scaling = {.type = "longrope",
                      .factor = 2.5,
                      .low_freq_factor = 2,
                      .high_freq_factor = 8,
                      .beta_fast = 16,
                      .beta_slow = 2,
                      .attention_factor = 0.7,
                      .mscale = 1,
                      .mscale_all_dim = 0.5,
                      .truncate = false,
                      .original_max_position_embeddings = 64,
                      .short_factor = {1.0, 1.1},
                      .long_factor = {1.5, 2},
                      .frequency_factors = {1, 4}};
  c.layer_rotary = {{"sliding_attention",
                     {.rotary_base = 7.0, .rotary_scaling = {.type = "linear", .factor = 3.0}}}};
  c.qkv_bias = c.attn_dense_bias = c.mlp_bias = c.share_embedding_table = true;
  c.layer_windows = {0, 8};
  c.bos_token_id = 1;
  c.eos_token_ids = {2, 5};
  c.pad_token_id = 0;
  c.quantization = {.quant_algo = "W4A16",
                    .kv_cache_quant_algo = "INT8",
                    .group_size = 64,
                    .exclude_modules = {"lm_head"}};
  c.mapping = {.world_size = 4, .tp_size = 2, .pp_size = 2, .moe_tp_size = 2, .moe_ep_size = 1};
  c.extra = {{"alpha", 0.25}};
  return c;
}

TEST(ConfigJson, EveryFieldOfPretrainedConfigRoundTrips) {
  const PretrainedConfig config = unusual_config();
  const Json json = Json::parse(to_json(config).dump(2), "config.json");
  EXPECT_EQ(pretrained_config_from_json(json, "config.json"), config);
  // A field forgotten in the table would have its default's text.
  const Json plain = to_json(PretrainedConfig{});
  for (const auto& [key, value] : json.as_object("config"))
    EXPECT_NE(value, *plain.find(key)) << key;
  for (const auto& [key, value] : json.at("rotary_scaling", "").as_object(""))
    EXPECT_NE(value, *plain.at("rotary_scaling", "").find(key)) << key;
}

TEST(ConfigJson, EveryFieldOfBuildConfigRoundTrips) {
  const BuildConfig config{.max_batch_size = 3,
                           .max_input_len = 5,
                           .max_seq_len = 7,
                           .max_beam_width = 2,
                           .max_num_tokens = 11,
                           .opt_num_tokens = 9,
                           .kv_cache_type = "continuous",
                           .tokens_per_block = 16,
                           .gather_context_logits = true,
                           .gather_generation_logits = true,
                           .remove_input_padding = false,
                           .use_paged_context_fmha = false,
                           .logits_dtype = "float16"};
  const Json json = Json::parse(to_json(config).dump(), "t");
  EXPECT_EQ(build_config_from_json(json, "t"), config);
  const Json plain = to_json(BuildConfig{});
  for (const auto& [key, value] : json.as_object("t")) EXPECT_NE(value, *plain.find(key)) << key;
  EXPECT_EQ(build_config_from_json(to_json(BuildConfig{}), "t"), BuildConfig{});
}

TEST(ConfigJson, UnknownKeysNameTheNearest) {
  Json json = to_json(unusual_config());
  json.set("hidden_sizes", 4);
  EXPECT_THAT(error_of([&] { pretrained_config_from_json(json, "c.json"); }),
              HasSubstr("c.json: unknown key \"hidden_sizes\"; did you mean \"hidden_size\"?"));
  Json nested = to_json(unusual_config());
  Json scaling = nested.at("rotary_scaling", "");
  scaling.set("fctor", 2.0);
  nested.set("rotary_scaling", scaling);
  EXPECT_THAT(error_of([&] { pretrained_config_from_json(nested, "c.json"); }),
              HasSubstr("c.json: rotary_scaling: unknown key \"fctor\""));
  EXPECT_THAT(
      error_of([] { build_config_from_json(Json::parse(R"({"max_batch": 4})", "t"), "b.json"); }),
      HasSubstr("max_batch_size"));
}

TEST(ConfigJson, WrongKindsAndValuesAreNamed) {
  const auto changed = [](const char* key, Json value) {
    Json json = to_json(unusual_config());
    json.set(key, std::move(value));
    return error_of([&] { pretrained_config_from_json(json, "c.json"); });
  };
  EXPECT_THAT(changed("hidden_size", "x"), HasSubstr("c.json: hidden_size"));
  EXPECT_THAT(changed("hidden_size", 0), HasSubstr("hidden_size is 0"));
  EXPECT_THAT(changed("num_hidden_layers", 1 << 30), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(changed("dtype", "float17"), HasSubstr("float17"));
  EXPECT_THAT(changed("position_embedding_type", "rope_gptneox"), HasSubstr("rope_gpt_neox"));
  EXPECT_THAT(changed("layer_windows", Json(Json::Array{Json(1)})), HasSubstr("layer_windows"));
  const auto rotary = [&](const char* text) {
    return changed("layer_rotary", Json::parse(text, "t"));
  };
  EXPECT_THAT(rotary(R"({"full_attention": {}})"),
              HasSubstr("layer_rotary has \"full_attention\""));
  EXPECT_THAT(rotary(R"({"sliding_attention": {"rotary_base": 0}})"),
              HasSubstr("layer_rotary.sliding_attention.rotary_base is 0"));
  EXPECT_THAT(rotary(R"({"sliding_attention": {"rotary_bas": 1}})"),
              HasSubstr("layer_rotary: sliding_attention: unknown key \"rotary_bas\""));
  EXPECT_THAT(changed("layer_windows", Json::array()), HasSubstr("no layer has a window"));
  EXPECT_THAT(changed("mapping", Json::parse(R"({"tp_size": 5000000000})", "t")),
              HasSubstr("tp_size"));
  EXPECT_THAT(error_of([] { pretrained_config_from_json(Json(1), "c.json"); }),
              HasSubstr("c.json"));
  EXPECT_THAT(error_of([] {
                build_config_from_json(Json::parse(R"({"kv_cache_type": "paper"})", "t"), "t");
              }),
              HasSubstr("kv_cache_type"));
}

TEST(ConfigJson, PositionNames) {
  for (int i = 0; i <= static_cast<int>(PositionEmbeddingType::kLongRope); ++i) {
    const auto type = static_cast<PositionEmbeddingType>(i);
    EXPECT_EQ(parse_position_embedding_type(to_string(type), "t"), type);
  }
}

}  // namespace
}  // namespace tenon
