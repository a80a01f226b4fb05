// SPDX-License-Identifier: Apache-2.0
#include "models/config_reader.h"

#include <gmock/gmock.h>

#include "model_test_support.h"

namespace tenon {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ConfigReader, GivesTypedValuesAndFallbacks) {
  const Json json = Json::parse(
      R"({"a": 3, "b": 2.0, "c": 0.5, "d": true, "e": "x", "f": [1, 2], "g": 7, "h": null})", "t");
  ConfigReader reader(json, "config.json");
  EXPECT_EQ(reader.integer("a"), 3);
  EXPECT_EQ(reader.integer("b"), 2);
  EXPECT_EQ(reader.number("c"), 0.5);
  EXPECT_TRUE(reader.boolean("d", false));
  EXPECT_EQ(reader.text("e", ""), "x");
  EXPECT_THAT(reader.integers("f"), ElementsAre(1, 2));
  EXPECT_THAT(reader.integers("g"), ElementsAre(7));
  EXPECT_EQ(reader.integer("h", 9), 9);
  EXPECT_EQ(reader.integer("absent", 9), 9);
  EXPECT_TRUE(reader.given("h"));
  EXPECT_FALSE(reader.has("h"));
  EXPECT_NO_THROW(reader.finish());
}

TEST(ConfigReader, NamesFileAndKeyInErrors) {
  const Json json = Json::parse(R"({"hidden_size": "wide"})", "t");
  ConfigReader reader(json, "dir/config.json");
  EXPECT_THAT(error_of([&] { reader.integer("hidden_size"); }),
              HasSubstr("dir/config.json: hidden_size"));
  EXPECT_THAT(error_of([&] { reader.integer("vocab_size"); }),
              HasSubstr("the key \"vocab_size\" is missing"));
  EXPECT_THAT(error_of([] { ConfigReader(Json(3), "x.json"); }), HasSubstr("x.json"));
}

TEST(ConfigReader, ListsEveryUnknownKeyWithTheNearestName) {
  const Json json = Json::parse(R"({"hidden_sise": 4, "wibble_gate": 1, "off": null})", "t");
  ConfigReader reader(json, "config.json");
  reader.integer("hidden_size", 4);
  const std::string error = error_of([&] { reader.finish(); });
  EXPECT_THAT(error, HasSubstr("\"hidden_sise\"; did you mean \"hidden_size\"?"));
  EXPECT_THAT(error, HasSubstr("\"wibble_gate\""));
  EXPECT_THAT(error, testing::Not(HasSubstr("\"off\"")));
}

TEST(ConfigReader, AllowsNeutralValuesOnly) {
  static const NeutralKey kKeys[] = {{"logit_scale", 1.0}, {"clip_qkv", nullptr}};
  const Json neutral = Json::parse(R"({"logit_scale": 1, "clip_qkv": null})", "t");
  ConfigReader good(neutral, "config.json");
  EXPECT_NO_THROW(good.require_neutral(kKeys));
  const Json changed = Json::parse(R"({"logit_scale": 0.0625})", "t");
  ConfigReader bad(changed, "config.json");
  EXPECT_THAT(error_of([&] { bad.require_neutral(kKeys); }),
              testing::AllOf(HasSubstr("\"logit_scale\" is 0.0625"), HasSubstr("only 1")));
}

}  // namespace
}  // namespace tenon
