// The template's interface: inputs, finding it among files, threads, faults.
// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

#include "tenon/error.h"

namespace tenon {
namespace {

using testing::HasSubstr;

std::string render(const std::string& source, const ChatTemplateInput& input = {}) {
  return ChatTemplate::parse(source, "test")->render(input);
}

TEST(ChatTemplate, RendersAConversation) {
  ChatTemplateInput input;
  input.messages = to_json({{"system", "Be brief."}, {"user", "Hi"}});
  input.add_generation_prompt = true;
  input.bos_token = "<s>";
  const std::string source =
      "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] }}\n{% endfor %}"
      "{% if add_generation_prompt %}[assistant]{% endif %}";
  EXPECT_EQ(render(source, input), "<s>[system]Be brief.\n[user]Hi\n[assistant]");
  EXPECT_EQ(ChatTemplate::parse(source, "test")->source(), source);
}

TEST(ChatTemplate, MissingToolsAreNoneAndExtraWins) {
  ChatTemplateInput input;
  EXPECT_EQ(render("{{ tools is none }}{{ documents is none }}{{ other is defined }}", input),
            "TrueTrueFalse");
  input.extra = Json::parse(R"({"enable_thinking": false, "bos_token": "B", "n": [1, 2.5]})", "t");
  EXPECT_EQ(render("{{ bos_token }}{{ enable_thinking is false }}{{ n }}", input), "BTrue[1, 2.5]");
  input.tools = Json::parse(R"([{"type": "function"}])", "t");
  EXPECT_EQ(render("{{ tools|tojson }}", input), R"([{"type": "function"}])");
}

TEST(ChatTemplate, TheClockCanBeGiven) {
  ChatTemplateInput input;
  input.now = 1721990400;
  EXPECT_THAT(render("{{ strftime_now('%Y-%m') }}", input), "2024-07");
  input.now.reset();
  EXPECT_EQ(render("{{ strftime_now('%Y')|length }}", input), "4");
}

TEST(ChatTemplate, RaiseExceptionIsTheCallersFault) {
  try {
    render("{{ raise_exception('Roles must alternate') }}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("Roles must alternate"));
  }
}

TEST(ChatTemplate, InvalidBytesDoNoHarm) {
  ChatTemplateInput input;
  input.messages = to_json({{"user", "a\xFF\xE4\xB8 b\xF0\x9F"}});
  const std::string source =
      "{% set c = messages[0].content %}{{ c|length }}{{ c[::-1]|length }}{{ c|upper|length }}"
      "{{ c|tojson|length }}{{ c.strip()|length }}{{ c.split() }}{{ c|title }}{{ c|wordcount }}";
  EXPECT_NO_THROW(render(source, input));
  EXPECT_NO_THROW(render("\xFF{{ '\xFF\xFE' }}\xC3"));
  EXPECT_THROW(render("{{ \xFF }}"), Error);
  EXPECT_THROW(render("{{ '{:\x95}'.format(5) }}"), Error);  // a byte alone is copied as well
}

TEST(ChatTemplate, ThreadsShareOne) {
  const auto shared = ChatTemplate::parse(
      "{% macro f(k) %}{{ k }}{% if k %}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(20) }}"
      "{% for m in messages %}{{ 'é' ~ m.content|upper }}{% endfor %}",
      "shared");
  ChatTemplateInput input;
  input.messages = to_json({{"user", "straße"}});
  const std::string expected = shared->render(input);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) EXPECT_EQ(shared->render(input), expected);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(ChatTemplate, LongConversationsFit) {
  std::vector<ChatMessage> messages;
  for (int i = 0; i < 2000; ++i)
    messages.push_back({i % 2 == 0 ? "user" : "assistant", std::string(2000, 'x')});
  ChatTemplateInput input;
  input.messages = to_json(messages);
  const std::string text = render(
      "{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + '<' + m.role + "
      "'>' "
      "+ m.content | trim + '\n' %}{% endfor %}{{ ns.t }}",
      input);
  EXPECT_GT(text.size(), 4'000'000U);
}

class ChatTemplateFiles : public testing::Test {
 protected:
  ChatTemplateFiles()
      : directory_(std::filesystem::path(testing::TempDir()) /
                   ("chat_template_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(directory_);
  }
  ~ChatTemplateFiles() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << text;
  }
  std::filesystem::path directory_;
};

TEST_F(ChatTemplateFiles, NoneIsEmpty) {
  EXPECT_EQ(find_chat_template(directory_), std::nullopt);
  write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  EXPECT_EQ(find_chat_template(directory_), std::nullopt);
  write("tokenizer_config.json", R"({"chat_template": null})");
  EXPECT_EQ(find_chat_template(directory_), std::nullopt);
}

TEST_F(ChatTemplateFiles, OrderOfFiles) {
  write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(find_chat_template(directory_), "config");
  write("chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(find_chat_template(directory_), "json");
  write("chat_template.jinja", "jinja");
  EXPECT_EQ(find_chat_template(directory_), "jinja");
  write("additional_chat_templates/tool_use.jinja", "tools");
  EXPECT_EQ(find_chat_template(directory_, "tool_use"), "tools");
  EXPECT_EQ(find_chat_template(directory_), "jinja");
}

TEST_F(ChatTemplateFiles, NamedTemplates) {
  write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(find_chat_template(directory_), "d");
  EXPECT_EQ(find_chat_template(directory_, "tool_use"), "t");
  EXPECT_EQ(find_chat_template(directory_, "rag"), "d");
  EXPECT_THROW(find_chat_template(directory_, "../x"), Error);
}

TEST_F(ChatTemplateFiles, WrongKindsAreErrors) {
  write("tokenizer_config.json", R"({"chat_template": 5})");
  EXPECT_THROW(find_chat_template(directory_), Error);
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  EXPECT_THROW(find_chat_template(directory_), Error);
  write("tokenizer_config.json", "{");
  EXPECT_THROW(find_chat_template(directory_), Error);
}

}  // namespace
}  // namespace tenon
