// `tenon chat` driven by a script and at a terminal.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/file.h"
#include "program.h"

extern char** environ;

namespace tenon::test {
namespace {

using ::testing::HasSubstr;

class Chat : public CliTest {
 protected:
  Result talk(const std::string& script, std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {
        "chat", text_model(), "--max_output_len", "4", "--no_cache", "--threads", "1", "--no_pin"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words, script);
  }
  std::vector<std::string> roles(const std::string& file) const {
    std::vector<std::string> roles;
    const Json json = Json::parse(read_file(at(file)), file);
    for (const Json& message : json.at("messages", file).as_array(""))
      roles.push_back(message.at("role", "").as_string(""));
    return roles;
  }
};

TEST_F(Chat, FollowsAScript) {
  const Result result =
      talk("/system Be brief.\nHi\n/save " + at("one.json") + "\nAnd \\\nmore?\n/save " +
           at("two.json") + "\n/reset\n/save " + at("three.json") + "\n/load " + at("one.json") +
           "\n//slash\n/save " + at("four.json") + "\n/system\n/save " + at("five.json") +
           "\n/help\n/quit\nnever asked\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("sampling: greedy"));
  EXPECT_THAT(result.err, HasSubstr("cut off after 4 tokens: --max_output_len"));
  EXPECT_THAT(result.err, HasSubstr("/load FILE"));
  using Roles = std::vector<std::string>;
  EXPECT_EQ(roles("one.json"), (Roles{"system", "user", "assistant"}));
  EXPECT_EQ(roles("two.json"), (Roles{"system", "user", "assistant", "user", "assistant"}));
  EXPECT_THAT(read_file(at("two.json")), HasSubstr("And \\nmore?"));
  EXPECT_EQ(roles("three.json"), (Roles{"system"}));
  EXPECT_EQ(roles("four.json"), (Roles{"system", "user", "assistant", "user", "assistant"}));
  EXPECT_THAT(read_file(at("four.json")), HasSubstr("\"/slash\""));
  EXPECT_EQ(roles("five.json"), (Roles{"user", "assistant", "user", "assistant"}));
}

TEST_F(Chat, BeamsAndBestOfFindRoomInTheBatch) {
  for (const char* flag : {"--num_beams", "--best_of"}) {
    const Result result = talk("Hi\n", {flag, "3"});
    EXPECT_EQ(result.code, 0) << result.err;
  }
  const Result result = talk("Hi\n", {"--num_beams", "100000"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("--num_beams"));
}

TEST_F(Chat, OldMessagesGoWhereTheyNoLongerFit) {
  std::string script;
  for (int i = 0; i < 6; ++i) script += "tell me of the sea\n";
  const Result result = talk(script + "/save " + at("all.json") + "\n");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("no longer fit the context of 128 tokens"));
  EXPECT_LT(roles("all.json").size(), 12U);
}

TEST_F(Chat, AScriptFailsWithItsReason) {
  Result result = talk("/rest\n");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean \"/reset\"?"));
  result = talk("/load " + at("missing.json") + "\n");
  EXPECT_EQ(result.code, 3);
  result = talk(std::string(2000, 'x') + "\n");
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("shorten it"));
  result = run({"chat", data_file("models/llama_gqa"), "--no_cache"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("no chat template"));
}

/// The program at a terminal: what a person types and sees.
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> words) {
    master_ = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master_);
    unlockpt(master_);
    const std::string slave = ptsname(master_);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int file : {0, 1, 2})
      posix_spawn_file_actions_addopen(&actions, file, slave.c_str(), O_RDWR | O_NOCTTY, 0);
    words.insert(words.begin(), TENON_PROGRAM);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn(&process_, TENON_PROGRAM, &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Terminal() { close(master_); }

  void type(const std::string& text) {
    EXPECT_EQ(::write(master_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void press_control_c() { kill(process_, SIGINT); }

  /// True once `text` was seen after what was waited for before.
  bool shows(const std::string& text) {
    for (std::size_t at = 0; (at = seen_.find(text)) == seen_.npos;) {
      pollfd input{master_, POLLIN, 0};
      char buffer[4096];
      if (poll(&input, 1, 20'000) <= 0) return false;
      const ssize_t count = read(master_, buffer, sizeof(buffer));
      if (count <= 0) return false;
      seen_.append(buffer, static_cast<std::size_t>(count));
    }
    seen_.erase(0, seen_.find(text) + text.size());
    return true;
  }
  int exit_code() {
    int status = 0;
    waitpid(process_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  int master_ = -1;
  pid_t process_ = 0;
  std::string seen_;
};

/// A bare root without /dev/pts has no terminals to give.
bool gives_terminals() {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  const bool given =
      master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && ptsname(master) != nullptr;
  if (master >= 0) close(master);
  return given;
}

TEST_F(Chat, ControlCAtTheTerminal) {
  if (!gives_terminals()) GTEST_SKIP() << "NO PSEUDO-TERMINAL HERE (is /dev/pts mounted?)";
  Terminal terminal({"chat", text_model(), "--max_output_len", "4", "--no_cache"});
  ASSERT_TRUE(terminal.shows("/help for help"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.press_control_c();
  ASSERT_TRUE(terminal.shows("Ctrl-C again"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("/rest\n");
  ASSERT_TRUE(terminal.shows("did you mean \"/reset\"?"));  // a person may go on
  ASSERT_TRUE(terminal.shows("> "));
  terminal.type("Hi\n");
  ASSERT_TRUE(terminal.shows("cut off after 4 tokens"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.press_control_c();
  ASSERT_TRUE(terminal.shows("Ctrl-C again"));
  ASSERT_TRUE(terminal.shows("> "));
  terminal.press_control_c();
  EXPECT_EQ(terminal.exit_code(), 0);
}

}  // namespace
}  // namespace tenon::test
