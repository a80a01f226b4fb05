// Frequencies against those that transformers computes (tests/data/rope, made by
// tools/make_layer_fixtures.py).
// SPDX-License-Identifier: Apache-2.0
#include "layers/rope_frequencies.h"

#include <filesystem>

#include "core/file.h"
#include "core/json.h"
#include "layer_test_support.h"

namespace tenon {
namespace {

std::vector<double> doubles(const Json* json) {
  std::vector<double> values;
  if (json != nullptr)
    for (const Json& value : json->as_array("t")) values.push_back(value.as_double("t"));
  return values;
}

RopeSettings settings_of(const Json& test) {
  const Json& parameters = test.at("rope_parameters", "t");
  const auto number = [&](const char* key, double fallback) {
    const Json* value = parameters.find(key);
    return value != nullptr ? value->as_double(key) : fallback;
  };
  RopeSettings settings;
  settings.rotary_dim = test.at("head_dim", "t").as_int("t");
  settings.max_position_embeddings = test.at("max_position_embeddings", "t").as_int("t");
  settings.base = number("rope_theta", 0.0);
  RopeScaling& s = settings.scaling;
  s.type = parameters.at("rope_type", "t").as_string("t");
  s.original_max_position_embeddings =
      static_cast<std::int64_t>(number("original_max_position_embeddings", 0.0));
  const double ratio = s.original_max_position_embeddings == 0
                           ? 1.0
                           : static_cast<double>(settings.max_position_embeddings) /
                                 static_cast<double>(s.original_max_position_embeddings);
  s.factor = number("factor", ratio);
  s.low_freq_factor = number("low_freq_factor", 1.0);
  s.high_freq_factor = number("high_freq_factor", 4.0);
  s.beta_fast = number("beta_fast", 32.0);
  s.beta_slow = number("beta_slow", 1.0);
  s.mscale = number("mscale", 0.0);
  s.mscale_all_dim = number("mscale_all_dim", 0.0);
  if (parameters.find("attention_factor") != nullptr)
    s.attention_factor = number("attention_factor", 1.0);
  if (const Json* truncate = parameters.find("truncate")) s.truncate = truncate->as_bool("t");
  s.short_factor = doubles(parameters.find("short_factor"));
  s.long_factor = doubles(parameters.find("long_factor"));
  return settings;
}

TEST(RopeFrequencies, EqualThoseOfTransformers) {
  const auto path = std::filesystem::path(TENON_TEST_DATA) / "rope" / "inv_freq.json";
  const Json file = Json::parse(read_file(path), path.string());
  ASSERT_FALSE(file.at("cases", "t").as_array("t").empty());
  for (const Json& test : file.at("cases", "t").as_array("t")) {
    SCOPED_TRACE(test.at("name", "t").as_string("t"));
    const Json& length = test.at("seq_len", "t");
    const RopeFrequencies got =
        rope_frequencies(settings_of(test), length.is_null() ? 0 : length.as_int("t"));
    const std::vector<double> expected = doubles(&test.at("inv_freq", "t"));
    ASSERT_EQ(got.inv_freq.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)  // a few units in the last place
      EXPECT_NEAR(got.inv_freq[i] / expected[i], 1.0, 5e-7) << i;
    EXPECT_FLOAT_EQ(got.amplitude,
                    static_cast<float>(test.at("attention_factor", "t").as_double("t")));
  }
}

TEST(RopeFrequencies, FactorsDivideWhateverTheKind) {
  RopeSettings settings{.rotary_dim = 4, .max_position_embeddings = 64};
  settings.scaling.frequency_factors = {1.0, 4.0};
  EXPECT_FLOAT_EQ(rope_frequencies(settings).inv_freq[0], 1.F);
  EXPECT_FLOAT_EQ(rope_frequencies(settings).inv_freq[1], 0.0025F);
  settings.scaling.frequency_factors = {1.0};
  EXPECT_THROW(rope_frequencies(settings), Error);
}

TEST(RopeFrequencies, OpCarriesWhatDependsOnTheLength) {
  RopeSettings settings{.rotary_dim = 4, .max_position_embeddings = 64};
  EXPECT_EQ(rope_op(settings, 2, 8, RopeStyle::kNeox).length, RopeLength::kFixed);
  settings.scaling = {.type = "dynamic", .factor = 4.0};
  const Rope dynamic = rope_op(settings, 2, 8, RopeStyle::kNeox);
  EXPECT_EQ(dynamic.length, RopeLength::kDynamic);
  EXPECT_EQ(dynamic.original_length, 64);
  EXPECT_EQ(dynamic.dynamic_factor, 4.F);
  settings.scaling = {.type = "longrope",
                      .factor = 2.0,
                      .original_max_position_embeddings = 32,
                      .short_factor = {1, 1},
                      .long_factor = {1, 2}};
  const Rope longrope = rope_op(settings, 2, 8, RopeStyle::kNeox);
  EXPECT_EQ(longrope.length, RopeLength::kSwitch);
  EXPECT_EQ(longrope.original_length, 32);
  EXPECT_FLOAT_EQ(longrope.long_inv_freq[1], longrope.inv_freq[1] / 2.F);
  EXPECT_FLOAT_EQ(longrope.amplitude, static_cast<float>(std::sqrt(1.2)));
}

TEST(RopeFrequencies, UnknownKindsAndOddSizesAreErrors) {
  EXPECT_THROW(rope_frequencies({.rotary_dim = 3}), Error);
  RopeSettings settings{.rotary_dim = 4};
  settings.scaling.type = "spiral";
  EXPECT_THROW(rope_frequencies(settings), Error);
}

}  // namespace
}  // namespace tenon
