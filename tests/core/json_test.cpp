// JSON: what is read, what is printed, what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "core/json.h"

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>

#include "tenon/error.h"

namespace tenon {
namespace {

TEST(Json, ReadsAndPrintsEveryKind) {
  const std::string text =
      R"({"a":[1,-2,0.5,true,false,null,"x\n\"é"],"big":9223372036854775807,"o":{}})";
  const Json json = Json::parse(text, "test");
  EXPECT_EQ(json.dump(), text);
  EXPECT_EQ(json.at("big", "test").as_int("big"), INT64_MAX);
  EXPECT_EQ(json.find("none"), nullptr);
  EXPECT_EQ(Json::parse(json.dump(2), "test"), json);
}

TEST(Json, DoublesRoundTripExactly) {
  for (const double value : {0.1, 1e-5, 1.0 / 3, 1e300, -0.0, 123456789.123})
    EXPECT_EQ(Json::parse(Json(value).dump(), "").as_double(""), value);
  EXPECT_TRUE(Json::parse("18446744073709551615", "").is_number());
}

void expect_refused(const std::string& text, const char* part) {
  try {
    Json::parse(text, "file.json");
    ADD_FAILURE() << text.substr(0, 60) << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(std::string(error.what()).find("file.json"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Json, RefusesDamage) {
  expect_refused("", "byte");
  expect_refused("{\"a\":1", "byte");
  expect_refused("{\"a\":1}x", "byte");
  expect_refused("{\"a\":1,\"b\":{},\"a\":2}", "stands twice");
  expect_refused("\"\xFF\"", "byte");
  expect_refused("01", "byte");
  expect_refused("[1,]", "byte");
  expect_refused(std::string(1000000, '['), "nested");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  expect_refused(deep, "nested");
}

TEST(Json, ChangingAnotherKindIsRefused) {
  Json text = Json::parse("\"files\"", "");
  for (const auto& change : std::initializer_list<std::function<void()>>{
           [&] { text.mutable_object("manifest"); }, [&] { text.mutable_array("manifest"); },
           [&] { text.set("manifest", 1); }, [&] { text.push_back(1); }}) {
    try {
      change();
      ADD_FAILURE() << "a string was changed into " << text.dump();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    }
  }
  Json empty;
  empty.set("a", 1);
  EXPECT_EQ(empty.dump(), R"({"a":1})");
}

TEST(Json, WrongKindsSayWhatWasExpected) {
  const Json json = Json::parse(R"({"a":"x","b":1.5})", "");
  EXPECT_THROW(json.at("a", "").as_int("a"), Error);
  EXPECT_THROW(json.at("b", "").as_int("b"), Error);
  EXPECT_THROW(json.at("c", ""), Error);
  EXPECT_EQ(Json::parse("2.0", "").as_int(""), 2);
}

}  // namespace
}  // namespace tenon
