// What a program gives or changes of a model's configuration, its inputs' limits and an engine's:
// each field takes effect, or is refused by name.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "fixture.h"

namespace tenon::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

PretrainedConfig small_config() {
  PretrainedConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = 64;
  config.hidden_size = 32;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_size = 8;
  config.intermediate_size = 48;
  config.max_position_embeddings = 128;
  return config;
}

/// What `call` throws: its code's name and message; "nothing" where it throws nothing.
std::string fault_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "nothing";
}

struct Change {
  const char* says;  ///< part of the message
  std::function<void(PretrainedConfig&)> make;
};

const Change kWrong[] = {
    {"num_attention_heads", [](PretrainedConfig& c) { c.num_attention_heads = 0; }},
    {"num_key_value_heads", [](PretrainedConfig& c) { c.num_key_value_heads = 3; }},
    {"num_hidden_layers", [](PretrainedConfig& c) { c.num_hidden_layers = -1; }},
    {"num_hidden_layers", [](PretrainedConfig& c) { c.num_hidden_layers = 1'000'000'000; }},
    {"hidden_size", [](PretrainedConfig& c) { c.hidden_size = std::int64_t{1} << 62; }},
    {"max_position_embeddings", [](PretrainedConfig& c) { c.max_position_embeddings = 0; }},
    {"norm_epsilon", [](PretrainedConfig& c) { c.norm_epsilon = -1; }},
    {"rotary_base", [](PretrainedConfig& c) { c.rotary_base = std::nan(""); }},
    {"layer_windows", [](PretrainedConfig& c) { c.layer_windows = {1, 2, 3}; }},
    {"layer_rotary", [](PretrainedConfig& c) { c.layer_rotary["full_attention"] = {}; }},
    {"learned_absolute",
     [](PretrainedConfig& c) {
       c.position_embedding_type = PositionEmbeddingType::kLearnedAbsolute;
     }},
    {"logit_scale", [](PretrainedConfig& c) { c.extra["logit_scale"] = 2; }},
};

TEST(GivenConfig, EveryWrongFieldIsRefusedByName) {
  for (const Change& change : kWrong) {
    PretrainedConfig config = small_config();
    change.make(config);
    const std::string fault = fault_of([&] { PretrainedModel::from_config(config); });
    EXPECT_THAT(fault, HasSubstr(change.says));
    EXPECT_EQ(fault.find("corrupt"), std::string::npos) << fault << ": there is no file";
  }
}

TEST(GivenConfig, AConfigChangedAfterwardsIsCheckedAgain) {
  for (const Change& change : kWrong) {
    PretrainedModel model = PretrainedModel::from_config(small_config());
    change.make(model.config());
    EXPECT_THAT(fault_of([&] { build(model); }), HasSubstr(change.says));
    EXPECT_THAT(fault_of([&] { model.forward(); }), HasSubstr(change.says));
    EXPECT_THAT(fault_of([&] { model.prepare_inputs({}); }), HasSubstr(change.says));
  }
}

TEST(GivenConfig, OverridesTakePlaceBeforeWeightsAreHeldAgainstThem) {
  const std::string path = data_path("models/llama_text").string();
  const PretrainedConfig read = PretrainedModel::from_pretrained(path).config();
  const auto changed = LlamaForCausalLM::from_pretrained(path, [](PretrainedConfig& config) {
    config.max_position_embeddings = 77;
    config.norm_epsilon = 0.25;
  });
  EXPECT_EQ(changed.config().max_position_embeddings, 77);
  EXPECT_THAT(changed.forward(), HasSubstr("0.25"));
  EXPECT_EQ(changed.config().hidden_size, read.hidden_size);
  PretrainedConfig whole = read;
  whole.max_position_embeddings = 55;
  const auto given =
      PretrainedModel::from_pretrained(path, [&](PretrainedConfig& config) { config = whole; });
  EXPECT_EQ(given.config().max_position_embeddings, 55);
  const auto fault = [&](const ConfigOverrides& overrides) {
    return fault_of([&] { PretrainedModel::from_pretrained(path, overrides); });
  };
  EXPECT_THAT(fault([](PretrainedConfig& config) { config.norm_epsilon = -1; }),
              AllOf(HasSubstr("invalid_argument"), HasSubstr("norm_epsilon")));
  EXPECT_THAT(fault([](PretrainedConfig& config) { config.intermediate_size *= 2; }),
              HasSubstr("mlp"));
  EXPECT_THROW(PretrainedModel::from_pretrained(path, [](auto&) { throw 7; }), int);
}

TEST(GivenConfig, AnotherDtypeIsNotTakenInSilence) {
  PretrainedModel model = PretrainedModel::from_pretrained(data_path("models/llama_text").string());
  model.config().dtype = DataType::kFloat16;
  EXPECT_THAT(fault_of([&] { build(model); }),
              AllOf(HasSubstr("unsupported"), HasSubstr("from float32 to float16"),
                    HasSubstr("--dtype float16")));
  model.config().dtype = DataType::kFloat32;
  EXPECT_EQ(fault_of([&] { build(model); }), "nothing");
}

TEST(GivenConfig, OptionsOfAnEngineThatHaveNoEffectAreRefused) {
  const PretrainedModel model = PretrainedModel::from_config(small_config());
  EXPECT_THAT(fault_of([&] { build(model, {.remove_input_padding = false}); }),
              AllOf(HasSubstr("unsupported"), HasSubstr("remove_input_padding")));
  EXPECT_THAT(fault_of([&] { build(model, {.use_paged_context_fmha = false}); }),
              AllOf(HasSubstr("unsupported"), HasSubstr("use_paged_context_fmha")));
  EXPECT_THAT(fault_of([&] { build(model, {.max_num_tokens = 8, .opt_num_tokens = 9}); }),
              HasSubstr("opt_num_tokens: 9 is more than max_num_tokens 8"));
}

TEST(GivenConfig, InputLimitsAreRefusedByName) {
  const PretrainedModel model = PretrainedModel::from_config(small_config());
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_THAT(fault_of([&] { model.prepare_inputs({.use_cache = false}); }),
              AllOf(HasSubstr("unsupported"), HasSubstr("use_cache")));
  EXPECT_THAT(fault_of([&] { model.prepare_inputs({.max_batch_size = kHuge}); }),
              HasSubstr("max_batch_size"));
  EXPECT_THAT(fault_of([&] { model.prepare_inputs({.max_num_tokens = -1}); }),
              HasSubstr("max_num_tokens is -1"));
  const auto inputs = model.prepare_inputs({.max_batch_size = 4, .max_input_len = 100});
  EXPECT_EQ(inputs.at("token_ids").dims.at(0).max, 400);
}

}  // namespace
}  // namespace tenon::test
