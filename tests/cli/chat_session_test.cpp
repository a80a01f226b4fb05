// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_session.h"

#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

using cli::Answer;
using cli::ChatSession;

class Session : public CliTest {
 protected:
  static LlmOptions options() {
    LlmOptions options;
    options.use_cache_folder = false;
    options.threads = 1;
    options.pin_threads = false;
    options.max_batch_size = 1;
    return options;
  }
  static SamplingParams greedy() {
    SamplingParams sampling;
    sampling.temperature = 0;
    sampling.ignore_eos = true;
    return sampling;
  }

  LLM llm_{text_model(), options()};
  ChatSession session_{llm_, greedy(), 8};
};

TEST_F(Session, AStoppedAnswerStaysInTheConversation) {
  const Answer answer = session_.ask("Hi", [](const TextDelta&) { return false; });
  EXPECT_LT(answer.output.outputs.front().token_ids.size(), 8U);
  ASSERT_EQ(session_.messages().size(), 2U);
  EXPECT_EQ(session_.messages()[1].content, answer.output.outputs.front().text);
  EXPECT_EQ(session_.ask("Go on", {}).output.outputs.front().token_ids.size(), 8U);
}

TEST_F(Session, WhereAskThrowsNothingChanges) {
  session_.set_system("Be brief.");
  session_.ask("Hi", {});
  const std::size_t before = session_.messages().size();
  EXPECT_THROW(session_.ask(std::string(2000, 'x'), {}), Error);
  EXPECT_EQ(session_.messages().size(), before);
}

TEST_F(Session, TheSystemTextOutlivesOldTurns) {
  session_.set_system("Be brief.");
  std::size_t dropped = 0;
  for (int turn = 0; turn < 6; ++turn) dropped += session_.ask("and the sea?", {}).dropped;
  EXPECT_GT(dropped, 0U);
  EXPECT_EQ(dropped % 2, 0U);
  EXPECT_EQ(session_.messages().front().role, "system");
  EXPECT_EQ(session_.messages()[1].role, "user");
}

TEST_F(Session, WithoutALimitTheAnswerFillsTheContext) {
  ChatSession open(llm_, greedy(), 0);
  const Answer answer = open.ask("Hi", {});
  EXPECT_EQ(static_cast<std::int64_t>(answer.output.prompt_token_ids.size() +
                                      answer.output.outputs.front().token_ids.size()),
            llm_.max_seq_len());
}

TEST_F(Session, LoadRefusesWhatIsNoConversation) {
  session_.ask("Hi", {});
  for (const char* text : {"{}", "[1]", "[{\"role\": \"user\"}]", "{\"messages\": 3}",
                           "[{\"role\": \"tool\", \"content\": \"x\"}]",
                           "[{\"role\": \"user\", \"content\": \"x\"},"
                           " {\"role\": \"system\", \"content\": \"y\"}]"}) {
    write("bad.json", text);
    EXPECT_THROW(session_.load(at("bad.json")), Error) << text;
    EXPECT_EQ(session_.messages().size(), 2U);
  }
  write("bare.json", "[{\"role\": \"user\", \"content\": \"é\"}]");
  session_.load(at("bare.json"));
  EXPECT_EQ(session_.messages().front().content, "é");
}

}  // namespace
}  // namespace tenon::test
