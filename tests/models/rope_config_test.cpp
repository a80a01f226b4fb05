// SPDX-License-Identifier: Apache-2.0
#include "models/rope_config.h"

#include <gmock/gmock.h>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::bare_config;
using test::error_of;
using test::read_config;
using testing::ElementsAre;
using testing::HasSubstr;

PretrainedConfig read(const char* extra) {
  Json json = bare_config("LlamaForCausalLM");
  json.set("max_position_embeddings", 128);
  const Json added = Json::parse(extra, "extra");
  for (const auto& [key, value] : added.as_object("extra")) json.set(key, value);
  return read_config(json);
}

TEST(RopeConfig, OldAndNewFormSayTheSame) {
  const PretrainedConfig old_form = read(
      R"({"rope_theta": 500000.0, "rope_scaling": {"type": "llama3", "factor": 8.0,
          "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}})");
  const PretrainedConfig new_form = read(
      R"({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0,
          "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}})");
  EXPECT_EQ(old_form, new_form);
  EXPECT_EQ(new_form.rotary_base, 500000.0);
  EXPECT_EQ(new_form.rotary_scaling.type, "llama3");
  EXPECT_EQ(new_form.rotary_scaling.factor, 8.0);
  EXPECT_EQ(new_form.rotary_scaling.original_max_position_embeddings, 32);
  EXPECT_EQ(new_form.position_embedding_type, PositionEmbeddingType::kRopeGptNeox);
}

TEST(RopeConfig, BothFormsAtOnceMustAgree) {
  EXPECT_NO_THROW(read(R"({"rope_theta": 5.0, "rope_scaling": null,
                           "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}})"));
  EXPECT_THAT(error_of([] {
                read(R"({"rope_theta": 6.0,
                         "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}})");
              }),
              HasSubstr("rope_theta is 6"));
  EXPECT_THAT(error_of([] {
                read(R"({"rope_scaling": {"type": "linear", "factor": 2.0},
                         "rope_parameters": {"rope_type": "default"}})");
              }),
              HasSubstr("say different things"));
}

/// Three layers: sliding, full, sliding.
PretrainedConfig read_mixed(const char* extra) {
  Json json = bare_config("Qwen2ForCausalLM");
  json.set("max_position_embeddings", 128);
  json.set("use_sliding_window", true);
  json.set("sliding_window", 8);
  json.set("layer_types",
           Json::parse(R"(["sliding_attention", "full_attention", "sliding_attention"])", "t"));
  const Json added = Json::parse(extra, "extra");
  for (const auto& [key, value] : added.as_object("extra")) json.set(key, value);
  return read_config(json);
}

TEST(RopeConfig, KindsOfLayerThatAgreeAreOneSetting) {
  const PretrainedConfig config = read_mixed(
      R"({"rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 7.0},
            "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 7.0}}})");
  EXPECT_EQ(config.rotary_base, 7.0);
  EXPECT_EQ(config.rotary_scaling.type, "linear");
  EXPECT_TRUE(config.layer_rotary.empty());
}

TEST(RopeConfig, KindsOfLayerMayDiffer) {
  const PretrainedConfig config = read_mixed(
      R"({"rope_parameters": {
            "sliding_attention": {"rope_type": "linear", "factor": 2.0},
            "full_attention": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 8.0}}})");
  EXPECT_EQ(config.position_embedding_type, PositionEmbeddingType::kYarn);
  EXPECT_EQ(config.rotary_base, 8.0);
  EXPECT_EQ(config.rotary_scaling.type, "yarn");
  ASSERT_EQ(config.layer_rotary.size(), 1U);
  const LayerRotary& sliding = config.layer_rotary.at("sliding_attention");
  EXPECT_EQ(sliding.rotary_base, 10000.0);
  EXPECT_EQ(sliding.rotary_scaling.type, "linear");
  EXPECT_EQ(sliding.rotary_scaling.factor, 2.0);
}

TEST(RopeConfig, AnOuterThetaIsForKindsThatNameNone) {
  const PretrainedConfig config = read_mixed(
      R"({"rope_theta": 9.0, "rope_parameters": {"sliding_attention": {},
                                                 "full_attention": {"rope_theta": 8.0}}})");
  EXPECT_EQ(config.rotary_base, 8.0);
  EXPECT_EQ(config.layer_rotary.at("sliding_attention").rotary_base, 9.0);
  EXPECT_THAT(error_of([] {
                read_mixed(R"({"rope_theta": 9.0,
                               "rope_parameters": {"sliding_attention": {"rope_theta": 7.0},
                                                   "full_attention": {"rope_theta": 8.0}}})");
              }),
              HasSubstr("rope_theta is 9"));
}

TEST(RopeConfig, EveryKindOfLayerNeedsAnEntryAndNoOtherMayHaveOne) {
  for (const char* kind : {"full_attention", "sliding_attention"}) {
    const std::string only =
        std::string(R"({"rope_parameters": {")") + kind + R"(": {"rope_theta": 7.0}}})";
    const std::string missing =
        kind == std::string("full_attention") ? "sliding_attention" : "full_attention";
    EXPECT_THAT(error_of([&] { read_mixed(only.c_str()); }),
                HasSubstr("rope_parameters has no entry \"" + missing + "\""));
  }
  EXPECT_THAT(error_of([] {
                read_mixed(R"({"rope_parameters": {"full_attention": {"rope_theta": 7.0},
                                                   "sliding_attention": null}})");
              }),
              HasSubstr("no entry \"sliding_attention\""));
  EXPECT_THAT(error_of([] {
                read_mixed(R"({"rope_parameters": {"full_attention": {"rope_theta": 7.0},
                                                   "sliding_atention": {"rope_theta": 7.0}}})");
              }),
              HasSubstr("\"sliding_atention\"; only full_attention and sliding_attention are "
                        "supported; did you mean \"sliding_attention\"?"));
}

TEST(RopeConfig, KindsOfLayerThatTheModelLacksDoNotMatter) {
  const PretrainedConfig config = read(
      R"({"layer_types": ["full_attention", "full_attention", "full_attention"],
          "rope_parameters": {"full_attention": {"rope_theta": 7.0},
                              "sliding_attention": {"rope_theta": 8.0}}})");
  EXPECT_EQ(config.rotary_base, 7.0);
  EXPECT_TRUE(config.layer_rotary.empty());
  EXPECT_THAT(error_of([] {
                read(R"({"rope_parameters": {"full_attention": {"rope_theta": 7.0},
                                             "sliding_attention": {"rope_typ": "linear"}}})");
              }),
              HasSubstr("rope_typ"));
}

TEST(RopeConfig, Yarn) {
  const PretrainedConfig config =
      read(R"({"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 32,
               "finetuned": true, "attention_factor": 0.7, "truncate": false}})");
  EXPECT_EQ(config.position_embedding_type, PositionEmbeddingType::kYarn);
  EXPECT_EQ(config.rotary_scaling.factor, 4.0);  // 128 / 32
  EXPECT_EQ(config.rotary_scaling.beta_fast, 32.0);
  EXPECT_EQ(config.rotary_scaling.attention_factor, 0.7);
  EXPECT_FALSE(config.rotary_scaling.truncate);
}

TEST(RopeConfig, LongRope) {
  const PretrainedConfig config = read(R"({"original_max_position_embeddings": 64,
               "rope_scaling": {"type": "su", "short_factor": [1, 1, 1, 1],
                                "long_factor": [1, 2, 3, 4.5]}})");
  EXPECT_EQ(config.position_embedding_type, PositionEmbeddingType::kLongRope);
  EXPECT_EQ(config.rotary_scaling.factor, 2.0);
  EXPECT_EQ(config.rotary_scaling.original_max_position_embeddings, 64);
  EXPECT_THAT(config.rotary_scaling.long_factor, ElementsAre(1, 2, 3, 4.5));
  EXPECT_THAT(error_of([] {
                read(R"({"rope_scaling": {"type": "longrope", "short_factor": [1, 1],
                                          "long_factor": [1, 2]}})");
              }),
              HasSubstr("short_factor has 2 values, expected 4"));
}

TEST(RopeConfig, UnknownKindsAndKeysAreNamed) {
  EXPECT_THAT(error_of([] { read(R"({"rope_scaling": {"type": "yarm", "factor": 2}})"); }),
              HasSubstr("\"yarm\" is not supported; did you mean \"yarn\"?"));
  EXPECT_THAT(
      error_of([] { read(R"({"rope_scaling": {"type": "mrope", "mrope_section": [1]}})"); }),
      HasSubstr("mrope"));
  EXPECT_THAT(error_of([] {
                read(R"({"rope_scaling": {"type": "linear", "factor": 2, "low_freq_factor": 1}})");
              }),
              HasSubstr("rope_scaling: unknown key \"low_freq_factor\""));
  EXPECT_THAT(error_of([] { read(R"({"rope_scaling": {"type": "linear"}})"); }),
              HasSubstr("\"factor\" is missing"));
  EXPECT_THAT(error_of([] {
                read(R"({"rope_parameters": {"rope_theta": 5, "partial_rotary_factor": 0.5}})");
              }),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(error_of([] { read(R"({"rope_scaling": {"type": "linear", "factor": 0}})"); }),
              HasSubstr("rotary_scaling.factor is 0"));
}

}  // namespace
}  // namespace tenon
