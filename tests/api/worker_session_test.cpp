// A session in a worker process gives what one in this process gives, and leaves nothing behind.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "tenon/executor.h"
#include "worker_support.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

std::string model() { return data_path("models/llama_text").string(); }

const std::vector<Ids>& prompts() {
  static const std::vector<Ids> all = {
      {1, 2, 3}, {1, 2, 3, 4, 5, 6, 7}, {9, 8}, {1, 2, 3, 4, 9, 9, 9, 9, 9, 9, 9, 9}};
  return all;
}

SamplingParams greedy(int tokens) {
  SamplingParams params;
  params.temperature = 0;
  params.max_tokens = tokens;
  params.ignore_eos = true;
  return params;
}

void expect_equal(const std::vector<TokenLogprobs>& a, const std::vector<TokenLogprobs>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].token_id, b[i].token_id);
    EXPECT_EQ(a[i].logprob, b[i].logprob);
    EXPECT_EQ(a[i].top, b[i].top);
  }
}

void expect_equal(const std::vector<RequestOutput>& a, const std::vector<RequestOutput>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].context_logits.values, b[i].context_logits.values);
    expect_equal(a[i].prompt_logprobs, b[i].prompt_logprobs);
    ASSERT_EQ(a[i].outputs.size(), b[i].outputs.size());
    for (std::size_t n = 0; n < a[i].outputs.size(); ++n) {
      const CompletionOutput& mine = a[i].outputs[n];
      const CompletionOutput& other = b[i].outputs[n];
      EXPECT_EQ(mine.token_ids, other.token_ids);
      EXPECT_EQ(mine.text, other.text);
      EXPECT_EQ(mine.finish_reason, other.finish_reason);
      EXPECT_EQ(mine.score, other.score);
      EXPECT_EQ(mine.generation_logits.values, other.generation_logits.values);
      expect_equal(mine.logprobs, other.logprobs);
    }
  }
}

/// Every second token.
class EvenTokens : public TokenConstraint {
 public:
  std::unique_ptr<TokenConstraint> fresh() const override { return std::make_unique<EvenTokens>(); }
  void allowed(std::span<std::uint32_t> bits) override {
    for (std::uint32_t& word : bits) word = 0x55555555;
  }
  void accept(std::int32_t token) override { EXPECT_EQ(token % 2, 0); }
};

class WorkerSession : public ::testing::Test {
 protected:
  static LlmOptions here_options() {
    LlmOptions options = worker_options();
    options.executor.worker_process = false;
    options.executor.worker_executable.clear();
    return options;
  }
  void compare(const SamplingParams& sampling, const RequestOptions& request = {}) {
    const std::vector<Prompt> all = as_prompts();
    expect_equal(here_.generate(all, sampling, request), there_.generate(all, sampling, request));
  }
  static std::vector<Prompt> as_prompts() {
    std::vector<Prompt> all(prompts().size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i].token_ids = prompts()[i];
    return all;
  }

  LLM here_{model(), here_options()};
  LLM there_{model(), worker_options()};
};

TEST_F(WorkerSession, OutputsAreThoseOfASessionHere) {
  SamplingParams params = greedy(12);
  params.return_context_logits = params.return_generation_logits = true;
  params.logprobs = 3;
  params.prompt_logprobs = 2;
  compare(params);

  SamplingParams drawn = greedy(12);
  drawn.temperature = 1.3F;
  drawn.top_k = 20;
  drawn.seed = 7;
  drawn.n = 3;
  drawn.repetition_penalty = 1.2F;
  drawn.logit_bias = {{5, 1.5F}, {9, -2.0F}};
  drawn.bad_words = {{3, 4}, {8}};
  drawn.logprobs = 0;
  compare(drawn);

  SamplingParams beams = greedy(8);
  beams.beam_width = 4;
  beams.n = 2;
  compare(beams);

  SamplingParams stops = greedy(20);
  stops.ignore_eos = false;
  stops.stop_token_ids = {11, 12, 13, 14};
  stops.min_tokens = 3;
  compare(stops);
}

TEST_F(WorkerSession, HooksOfTheProgramWorkAcrossTheProcesses) {
  RequestOptions even;
  even.constraint = std::make_shared<EvenTokens>();
  compare(greedy(10), even);

  RequestOptions shifted;
  shifted.logits_processor = [](const LogitsView& view) {
    view.logits[view.tokens.size() % 7 + 10] += 50.0F;
  };
  compare(greedy(10), shifted);
}

TEST_F(WorkerSession, LogitsTapsAndEmbeddingsComeThrough) {
  const Ids ids = prompts()[3];
  EXPECT_EQ(here_.logits(ids).values, there_.logits(ids).values);
  const std::vector<std::string> texts = {"a river", "the sea"};
  EXPECT_EQ(here_.embed(texts), there_.embed(texts));

  LlmOptions options = here_options();
  const std::string name = "layers.1.mlp.output";
  options.taps = {name};
  std::vector<std::int64_t> shape;
  const std::vector<float> expected = LLM(model(), options).tap(ids, name, shape);
  EXPECT_EQ(shape.at(0), std::ssize(ids));
  options.executor = worker_options().executor;
  EXPECT_EQ(LLM(model(), options).tap(ids, name, shape), expected);
  options.taps = {"layers.1.mlp.outptu"};
  EXPECT_THAT([&] { LLM(model(), options); },
              ::testing::Throws<Error>(::testing::Property(&Error::what, HasSubstr(name))));
}

TEST_F(WorkerSession, TellsWhatTheWorkerIs) {
  EXPECT_EQ(here_.max_seq_len(), there_.max_seq_len());
  EXPECT_EQ(here_.precision(), there_.precision());
  const pid_t worker = worker_named_in(there_.describe());
  EXPECT_NE(worker, ::getpid());
  EXPECT_TRUE(process_runs(worker));
  EXPECT_THAT(there_.memory_plan(), HasSubstr("packed weights"));
  EXPECT_EQ(there_.health().state, ExecutorHealth::State::kReady);
  EXPECT_EQ(there_.statistics().lost_workers, 0U);
  std::string plan = there_.memory_plan();
  EXPECT_EQ(std::count(plan.begin(), plan.end(), '\n'), [&] {
    const std::string mine = here_.memory_plan();
    return std::count(mine.begin(), mine.end(), '\n');
  }());
}

TEST_F(WorkerSession, ManyThreadsShareIt) {
  const auto expected = here_.generate_ids(prompts(), greedy(10));
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      const std::size_t one = t % prompts().size();
      for (int i = 0; i < 3; ++i)
        EXPECT_EQ(there_.generate_ids({prompts()[one]}, greedy(10))[0].outputs[0].token_ids,
                  expected[one].outputs[0].token_ids);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(WorkerProcess, RanksOfAWorkerAreItsThreads) {
  LlmOptions options = worker_options();
  options.threads = 2;
  options.mapping = {.world_size = 2, .tp_size = 2};
  LLM there(model(), options);
  options.executor.worker_process = false;
  options.executor.worker_executable.clear();
  LLM here(model(), options);
  expect_equal(here.generate_ids(prompts(), greedy(8)), there.generate_ids(prompts(), greedy(8)));
}

TEST(WorkerProcess, ErrorsOfALoadAreThoseOfALoadHere) {
  LlmOptions options = worker_options();
  options.kv_cache_dtype = "int32";
  const auto error_of = [](const LlmOptions& wanted) {
    try {
      const LLM llm(model(), wanted);
    } catch (const Error& error) {
      return std::string(to_string(error.code())) + ": " + error.what();
    }
    return std::string();
  };
  const std::string there = error_of(options);
  options.executor.worker_process = false;
  options.executor.worker_executable.clear();
  EXPECT_EQ(there, error_of(options));
  EXPECT_THAT(there, HasSubstr("kv_cache_dtype"));
}

std::string failure_of(const LlmOptions& options) {
  try {
    const LLM llm(model(), options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(WorkerProcess, AProgramThatIsNoneIsNamed) {
  LlmOptions options = worker_options();
  options.executor.worker_executable = "/nowhere/tenon";
  EXPECT_THAT(failure_of(options), AllOf(HasSubstr("worker_executable"), HasSubstr("/nowhere")));
  options.executor.worker_executable = model();  // a folder
  EXPECT_THAT(failure_of(options), HasSubstr("no program"));
  options.executor.worker_executable = "/bin/true";
  EXPECT_THAT(failure_of(options), AllOf(HasSubstr("/bin/true"), HasSubstr("exit code 0")));
  options.executor.worker_process = false;
  EXPECT_THAT(failure_of(options), HasSubstr("worker_process"));
}

TEST(WorkerProcess, TheProgramBesideThisOneIsFound) {
  LlmOptions options = worker_options();
  options.executor.worker_executable.clear();
  LLM llm(model(), options);
  EXPECT_EQ(llm.generate_ids({prompts()[0]}, greedy(3))[0].outputs[0].token_ids.size(), 3U);
}

TEST(WorkerProcess, WhereThereIsNoProgramTheErrorSaysWhereItWasLookedFor) {
  std::string folder = (std::filesystem::temp_directory_path() / "tenon-worker-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::filesystem::create_directories(folder + "/a/b");
  std::filesystem::copy_file(TENON_FAULTY_WORKER, folder + "/a/b/lonely");
  const std::string command = "PATH=/nowhere " + folder + "/a/b/lonely parent " + model() + " ''";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string said;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) said += static_cast<char>(c);
  EXPECT_NE(::pclose(pipe), 0);
  EXPECT_THAT(said, AllOf(HasSubstr("not_found: worker_process"), HasSubstr("/a/b/tenon"),
                          HasSubstr("/nowhere/tenon"), HasSubstr("worker_executable")));
  std::filesystem::remove_all(folder);
}

TEST(WorkerProcess, OneThatEndsAtOnceIsQuoted) {
  const WithFault fault("exit_at_load:3");
  EXPECT_THAT(failure_of(worker_options()),
              AllOf(HasSubstr("exit code 3"), HasSubstr("no luck today")));
}

TEST(WorkerProcess, AnEngineInMemoryHasToBeSaved) {
  const Engine engine = build(PretrainedModel::from_pretrained(model()));
  try {
    const LLM llm(engine, worker_options());
    ADD_FAILURE() << "loaded";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("in memory"), HasSubstr("save()")));
  }
  std::string folder = (std::filesystem::temp_directory_path() / "tenon-worker-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  engine.save(folder + "/engine");
  {
    LLM llm(Engine::load(folder + "/engine"), worker_options());
    EXPECT_EQ(llm.generate_ids(prompts(), greedy(3)).size(), prompts().size());
  }
  std::filesystem::remove_all(folder);
}

TEST(WorkerProcess, LeavesNothingBehind) {
  const std::size_t files = own_entries("fd");
  const std::size_t threads = own_entries("task");
  for (int i = 0; i < 3; ++i) {
    LLM llm(model(), worker_options());
    llm.generate_ids({prompts()[0]}, greedy(3));
    const pid_t worker = worker_named_in(llm.describe());
    ::kill(worker, SIGKILL);
    llm.generate_ids({prompts()[0]}, greedy(3));
    const WithFault fault("exit_at_load:3");
    EXPECT_NE(failure_of(worker_options()), "");
  }
  EXPECT_EQ(own_entries("fd"), files);
  EXPECT_EQ(own_entries("task"), threads);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(WorkerProcess, EndsWithItsProgram) {
  int out[2];
  ASSERT_EQ(::pipe(out), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::execl(TENON_FAULTY_WORKER, TENON_FAULTY_WORKER, "parent", model().c_str(),
            TENON_FAULTY_WORKER, nullptr);
    ::_exit(1);
  }
  ::close(out[1]);
  std::string said;
  char c = 0;
  while (!said.ends_with("precision") && ::read(out[0], &c, 1) == 1) said += c;
  ::close(out[0]);
  const pid_t worker = worker_named_in(said);
  ASSERT_GT(worker, 0);
  EXPECT_TRUE(process_runs(worker));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  for (int i = 0; i < 2000 && process_runs(worker); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(process_runs(worker));
}

}  // namespace

bool process_runs(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/stat");
  std::string number, name, state;
  status >> number >> name >> state;
  return !state.empty() && state != "Z" && state != "X";
}

}  // namespace tenon::test
