// The config of a GGUF model equals that of the Hugging Face model it was made from; odd metadata
// are errors.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <filesystem>

#include "checkpoint/model_files.h"
#include "model_test_support.h"

namespace tenon {
namespace {

using test::error_of;
using testing::HasSubstr;

const std::filesystem::path kData(TENON_TEST_DATA);

ModelFiles open_gguf_fixture(const std::string& name) {
  return open_model((kData / "gguf" / (name + ".gguf")).string());
}

PretrainedConfig read_gguf(const ModelFiles& files, const GgufMetadata& metadata) {
  const std::string architecture = metadata.at("general.architecture", "t").as_string("t");
  return find_model_family_for_gguf(architecture).config_from_gguf(metadata, *files.tensors, "t");
}

class SameModel : public testing::TestWithParam<const char*> {};

TEST_P(SameModel, ConfigsAgree) {
  const ModelFiles gguf = open_gguf_fixture(GetParam());
  const ModelFiles original = open_model((kData / "models" / GetParam()).string());
  PretrainedConfig expected = test::read_config(*original.config);
  PretrainedConfig got = read_gguf(gguf, *gguf.gguf);
  EXPECT_NEAR(got.norm_epsilon, expected.norm_epsilon, 1e-12);
  EXPECT_NEAR(got.rotary_base, expected.rotary_base, 1e-3);
  EXPECT_NEAR(got.rotary_scaling.factor, expected.rotary_scaling.factor, 1e-6);
  // What GGUF writes as float32 or not at all (these files have no tokenizer).
  got.norm_epsilon = expected.norm_epsilon;
  got.rotary_base = expected.rotary_base;
  got.rotary_scaling.factor = expected.rotary_scaling.factor;
  got.bos_token_id = expected.bos_token_id;
  got.eos_token_ids = expected.eos_token_ids;
  EXPECT_EQ(got, expected);
}

INSTANTIATE_TEST_SUITE_P(Gguf, SameModel,
                         testing::Values("llama_bias", "llama_head_dim", "llama_linear_rope",
                                         "llama_yarn", "qwen2_untied", "llama_text"));

TEST(GgufConfig, Llama3FactorsComeFromTheTensor) {
  const ModelFiles files = open_gguf_fixture("llama3_rope");
  const PretrainedConfig config = read_gguf(files, *files.gguf);
  EXPECT_EQ(config.rotary_scaling.type, "default");
  ASSERT_EQ(config.rotary_scaling.frequency_factors.size(), 8U);
  EXPECT_EQ(config.rotary_scaling.frequency_factors.front(), 1.0);
  EXPECT_NEAR(config.rotary_scaling.frequency_factors.back(), 4.0, 1e-6);
}

TEST(GgufConfig, TiedHeadAndBiasesFollowTheTensors) {
  const ModelFiles tied = open_gguf_fixture("qwen2_bias");
  EXPECT_TRUE(read_gguf(tied, *tied.gguf).share_embedding_table);
  EXPECT_TRUE(read_gguf(tied, *tied.gguf).qkv_bias);
  const ModelFiles untied = open_gguf_fixture("qwen2_untied");
  EXPECT_FALSE(read_gguf(untied, *untied.gguf).share_embedding_table);
}

TEST(GgufConfig, EndTokensAreCollected) {
  const ModelFiles files = open_gguf_fixture("llama_text");
  GgufMetadata metadata = *files.gguf;
  metadata.add("tokenizer.ggml.eot_token_id", GgufValue(GgufType::kUInt32, std::uint64_t{7}));
  EXPECT_THAT(read_gguf(files, metadata).eos_token_ids, testing::ElementsAre(2, 7));
}

TEST(GgufConfig, AScalingFactorWithoutATypeIsLinear) {
  const ModelFiles files = open_gguf_fixture("llama_text");
  const auto scaled = [&](const char* key) {
    GgufMetadata metadata = *files.gguf;
    metadata.add(key, GgufValue(GgufType::kFloat32, 4.0));
    return read_gguf(files, metadata).rotary_scaling;
  };
  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    EXPECT_EQ(scaled(key).type, "linear") << key;
    EXPECT_EQ(scaled(key).factor, 4.0) << key;
  }
}

TEST(GgufConfig, UnknownOrUnsupportedKeysAreNamed) {
  const ModelFiles files = open_gguf_fixture("llama_text");
  const auto with = [&](const char* key, GgufValue value) {
    GgufMetadata metadata = *files.gguf;
    metadata.add(key, std::move(value));
    return error_of([&] { read_gguf(files, metadata); });
  };
  EXPECT_THAT(with("llama.brand_new", GgufValue(GgufType::kBool, true)),
              HasSubstr("\"llama.brand_new\""));
  EXPECT_THAT(with("llama.expert_count", GgufValue(GgufType::kUInt32, std::uint64_t{8})),
              HasSubstr("expert_count is 8"));
  EXPECT_THAT(with("llama.rope.scaling.type", GgufValue("longrope")), HasSubstr("longrope"));
  EXPECT_THAT(with("llama.attention.key_length", GgufValue(GgufType::kUInt32, std::uint64_t{16})),
              HasSubstr("rope.dimension_count"));
  EXPECT_EQ(with("general.whatever", GgufValue("x")), "no error");
}

}  // namespace
}  // namespace tenon
