// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <set>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(ModelList, FindsByNameAliasAndGgufArchitecture) {
  EXPECT_EQ(find_model_family("Qwen2ForCausalLM").gguf_architecture, "qwen2");
  EXPECT_EQ(find_model_family("LLaMAForCausalLM").architecture, "LlamaForCausalLM");
  EXPECT_EQ(find_model_family_for_gguf("llama").architecture, "LlamaForCausalLM");
  const Json json = Json::parse(R"({"architectures": ["Other", "MistralForCausalLM"]})", "t");
  EXPECT_EQ(find_model_family(json, "config.json").architecture, "MistralForCausalLM");
}

TEST(ModelList, UnknownNamesComeWithTheNearestAndTheList) {
  const std::string error = error_of([] { find_model_family("LamaForCausalLM"); });
  EXPECT_THAT(error, HasSubstr("did you mean \"LlamaForCausalLM\"?"));
  EXPECT_THAT(error, HasSubstr("MistralForCausalLM, Qwen2ForCausalLM"));
  EXPECT_THAT(error_of([] { find_model_family_for_gguf("qwen3"); }), HasSubstr("\"qwen2\""));
  EXPECT_THAT(error_of([] {
                find_model_family(Json::parse(R"({"architectures": []})", "t"), "x/config.json");
              }),
              HasSubstr("x/config.json"));
  EXPECT_THAT(error_of([] { find_model_family(Json::object(), "x/config.json"); }),
              HasSubstr("architectures"));
}

TEST(ModelList, EveryFamilyIsWholeAndNamedOnce) {
  std::set<std::string_view> names;
  for (const ModelFamily& family : model_families()) {
    EXPECT_TRUE(names.insert(family.architecture).second);
    for (const std::string_view alias : family.aliases) EXPECT_TRUE(names.insert(alias).second);
    EXPECT_NE(family.config_from_hugging_face, nullptr);
    EXPECT_NE(family.hugging_face_weights, nullptr);
    EXPECT_NE(family.build, nullptr);
    EXPECT_EQ(family.gguf_architecture.empty(), family.config_from_gguf == nullptr);
    EXPECT_NE(family.gguf_weights, nullptr);
  }
}

}  // namespace
}  // namespace tenon
