// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>

extern char** environ;

namespace tenon::test {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

CliTest::CliTest() {
  std::string name = (fs::temp_directory_path() / "tenon-cli-XXXXXX").string();
  folder_ = ::mkdtemp(name.data());
  environment_["TENON_CACHE_DIR"] = at("cache");
}

CliTest::~CliTest() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

CliTest::Started CliTest::start(const std::vector<std::string>& arguments, const std::string& input,
                                const std::string& out_file) const {
  static std::atomic<int> number{0};
  const std::string stem = at("process" + std::to_string(++number));
  std::ofstream(stem + ".in", std::ios::binary) << input;
  Started started{0, out_file.empty() ? stem + ".out" : out_file, stem + ".err"};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, (stem + ".in").c_str(), O_RDONLY, 0);
  constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&actions, 1, started.out_file.c_str(), kWrite, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, started.err_file.c_str(), kWrite, 0600);
  std::vector<std::string> words = {TENON_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!text.starts_with("TENON_")) variables.push_back(text);
  }
  for (const auto& [key, value] : environment_) variables.push_back(key + "=" + value);
  const int error = posix_spawn(&started.process, TENON_PROGRAM, &actions, nullptr,
                                pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(error, 0) << TENON_PROGRAM;
  return started;
}

Result CliTest::run_into(const std::string& file, const std::vector<std::string>& arguments,
                         const std::string& input) const {
  return finish(start(arguments, input, file));
}

Result CliTest::finish(const Started& started) {
  int status = 0;
  EXPECT_EQ(waitpid(started.process, &status, 0), started.process);
  Result result;
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (fs::is_regular_file(started.out_file)) result.out = content_of(started.out_file);
  result.err = content_of(started.err_file);
  return result;
}

Result CliTest::run(const std::vector<std::string>& arguments, const std::string& input) const {
  return finish(start(arguments, input));
}

std::string CliTest::out_of(const std::vector<std::string>& arguments,
                            const std::string& input) const {
  const Result result = run(arguments, input);
  EXPECT_EQ(result.code, 0) << ::testing::PrintToString(arguments) << "\n" << result.err;
  return result.out;
}

Json CliTest::json_of(const std::vector<std::string>& arguments) const {
  return Json::parse(out_of(arguments), "standard output");
}

void CliTest::write(const std::string& name, const std::string& content) const {
  std::ofstream(folder_ / name, std::ios::binary) << content;
}

std::string CliTest::build_engine(const std::string& name) const {
  out_of({"build", "--model_dir", text_model(), "--output_dir", at(name)});
  return at(name);
}

std::string data_file(const std::string& name) { return TENON_TEST_DATA "/" + name; }
std::string text_model() { return data_file("models/llama_text"); }

std::string trimmed(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace tenon::test
