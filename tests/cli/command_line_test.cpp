// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Parsed {
  bool flag = false;
  std::string text;
  std::int64_t number = 1;
  std::optional<double> maybe;
  std::vector<std::string> several;
  std::string model;

  void parse(const std::vector<std::string>& arguments) {
    cli::CommandLine line("test", "A test.");
    line.positional("model", model, "a model");
    line.flag("--flag", flag, "a flag");
    line.option("--some_text", text, "a text");
    line.option("--number", number, "a number");
    line.option("--maybe", maybe, "a number or nothing");
    line.option("--several", several, "texts");
    line.unsupported("--later");
    line.parse(arguments);
  }
  ErrorCode error(const std::vector<std::string>& arguments, const char* part) {
    try {
      parse(arguments);
    } catch (const Error& thrown) {
      EXPECT_THAT(thrown.what(), HasSubstr(part));
      return thrown.code();
    }
    ADD_FAILURE() << "no error: " << ::testing::PrintToString(arguments);
    return ErrorCode::kInternal;
  }
};

TEST(CommandLine, TakesBothSpellingsAndBothForms) {
  Parsed parsed;
  parsed.parse({"model.gguf", "--flag", "--some-text=a-b", "--number", "-3", "--maybe", "0.5",
                "--several", "x", "--several", "y"});
  EXPECT_TRUE(parsed.flag);
  EXPECT_EQ(parsed.text, "a-b");
  EXPECT_EQ(parsed.number, -3);
  EXPECT_EQ(parsed.maybe, 0.5);
  EXPECT_THAT(parsed.several, ElementsAre("x", "y"));
  EXPECT_EQ(parsed.model, "model.gguf");
}

TEST(CommandLine, WhatIsNotGivenStays) {
  Parsed parsed;
  parsed.parse({});
  EXPECT_EQ(parsed.number, 1);
  EXPECT_FALSE(parsed.maybe.has_value());
}

TEST(CommandLine, SaysWhatIsWrong) {
  Parsed parsed;
  EXPECT_EQ(parsed.error({"--nubmer", "3"}, "did you mean \"--number\"?"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--number", "three"}, "--number: \"three\" is not an integer"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--maybe", "1x"}, "--maybe: \"1x\" is not a number"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--number", "3", "--number=4"}, "--number: given 2 times; give it once"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--number"}, "number"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--number", "99999999999999999999"}, "too large or too small"),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"a", "b"}, "b"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error({"--later=3"}, "--later is not supported yet"), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace tenon::test
