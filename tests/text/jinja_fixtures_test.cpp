// Renders the fixtures of tools/make_template_fixtures.py and compares with jinja2's output.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "core/file.h"
#include "core/json.h"
#include "tenon/error.h"
#include "text/chat_template.h"

namespace tenon {
namespace {

class JinjaFixtures : public testing::TestWithParam<const char*> {};

ChatTemplateInput input_of(const Json& given, std::int64_t now) {
  ChatTemplateInput input;
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  input.extra = given;
  input.now = now;
  return input;
}

std::string as_json(const std::string& text) { return Json(text).dump(); }

void check_case(const Json& row, const ChatTemplateInput& input) {
  const std::string& source = row.at("template", "case").as_string("template");
  const Json* error = row.find("error");
  const Json* message = row.find("message");
  std::string got;
  try {
    got = ChatTemplate::parse(source, "fixture")->render(input);
  } catch (const Error& fault) {
    const std::string what = fault.what();
    EXPECT_NE(error, nullptr) << as_json(source) << "\n  expected "
                              << row.at("expected", "case").dump() << "\n  got " << what;
    EXPECT_NE(what.find("fixture, line "), std::string::npos) << what;
    if (message != nullptr) {
      EXPECT_NE(what.find(message->as_string("message")), std::string::npos)
          << as_json(source) << "\n  expected " << message->dump() << "\n  got " << what;
    }
    return;
  }
  if (error != nullptr) {
    ADD_FAILURE() << as_json(source) << "\n  expected the error " << row.dump() << "\n  got "
                  << as_json(got);
    return;
  }
  EXPECT_EQ(as_json(got), row.at("expected", "case").dump()) << as_json(source);
}

TEST_P(JinjaFixtures, PrintsWhatJinja2Prints) {
  const std::string path = std::string(TENON_TEST_DATA) + "/templates/" + GetParam() + ".json";
  const Json file = Json::parse(read_file(path), path);
  const std::int64_t now = file.at("now", path).as_int(path);
  const Json::Array& inputs = file.at("inputs", path).as_array(path);
  const Json::Array& cases = file.at("cases", path).as_array(path);
  ASSERT_FALSE(cases.empty());
  for (const Json& row : cases) {
    const auto number = static_cast<std::size_t>(row.at("input", path).as_int(path));
    check_case(row, input_of(inputs.at(number), now));
  }
}

INSTANTIATE_TEST_SUITE_P(Files, JinjaFixtures,
                         testing::Values("expressions", "statements", "syntax", "whitespace",
                                         "filters", "tests", "methods", "models", "smollm2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tenon
