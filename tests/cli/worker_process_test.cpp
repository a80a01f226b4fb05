// --worker_process, as a user runs it: the program is its own worker.
// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "program.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kRun = {
    "run", text_model(), "--input_text",    "a river",      "the sea",         "--threads",
    "1",   "--no_pin",   "--deterministic", "--ignore_eos", "--max_output_len"};

std::vector<std::string> words(std::vector<std::string> more) {
  std::vector<std::string> all = kRun;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

class WorkerProcessCli : public CliTest {};

TEST_F(WorkerProcessCli, GivesTheSameText) {
  const Result here = run(words({"24"}));
  const Result there = run(words({"24", "--worker_process"}));
  EXPECT_EQ(there.code, 0) << there.err;
  EXPECT_EQ(there.out, here.out);
  EXPECT_THAT(there.err, HasSubstr("in worker process"));
  EXPECT_THAT(here.err, Not(HasSubstr("in worker process")));
}

TEST_F(WorkerProcessCli, ServesAModelThatIsNotKeptAndSaysWhatItIs) {
  const Result result = run(words({"4", "--worker_process", "--no_cache", "--verbose"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("packed weights"));
}

TEST_F(WorkerProcessCli, ErrorsKeepTheirExitCodes) {
  const Result here = run(words({"4", "--kv_cache_dtype", "int32"}));
  const Result there = run(words({"4", "--worker_process", "--kv_cache_dtype", "int32"}));
  EXPECT_EQ(there.code, here.code);
  EXPECT_EQ(there.err, here.err);
  const Result none = run(words({"4", "--worker_process", "--worker_executable", at("none")}));
  EXPECT_EQ(none.code, 3);
  EXPECT_THAT(none.err, AllOf(HasSubstr("worker_executable"), HasSubstr(at("none"))));
  const Result alone = run(words({"4", "--worker_executable", at("none")}));
  EXPECT_EQ(alone.code, 2);
  EXPECT_THAT(alone.err, HasSubstr("--worker_process"));
  EXPECT_EQ(run({"worker"}).code, 2) << "nobody starts it by hand";
  EXPECT_EQ(run({"worker", "--help"}).code, 2);
  EXPECT_THAT(out_of({"--help"}), Not(HasSubstr("worker")));
  EXPECT_THAT(out_of({"run", "--help"}), HasSubstr("--worker_process"));
}

/// As from a terminal, which tells every process of the group.
TEST_F(WorkerProcessCli, AnInterruptIsTheProgramsToAnswer) {
  const Started started = start(words({"4000", "--worker_process", "--streaming"}));
  const auto said = [&](const std::string& file) {
    std::ifstream in(file);
    return std::string{std::istreambuf_iterator<char>(in), {}};
  };
  std::string err;
  for (int i = 0; i < 10'000 && err.find("worker process") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    err = said(started.err_file);
  }
  const std::size_t at = err.find("worker process ");
  ASSERT_NE(at, std::string::npos) << err;
  const pid_t worker = std::stoi(err.substr(at + 15));
  ::kill(worker, SIGINT);
  ::kill(started.process, SIGINT);
  const Result result = finish(started);
  EXPECT_THAT(result.err, Not(HasSubstr("is gone")));
  const auto runs = [&] {
    std::ifstream status("/proc/" + std::to_string(worker) + "/stat");
    std::string number, name, state;
    status >> number >> name >> state;
    return !state.empty() && state != "Z" && state != "X";
  };
  for (int i = 0; i < 10'000 && runs(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(runs());
}

}  // namespace
}  // namespace tenon::test
