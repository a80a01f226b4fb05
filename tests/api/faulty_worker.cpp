// A worker process that fails as TENON_TEST_FAULT says: NAME[:ARGUMENT]. Without it, a worker like
// any other. With the words `parent MODEL PROGRAM` instead of `worker`: a program that has a worker
// of its own, says which, and waits.
// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "api/worker_process.h"
#include "api/worker_server.h"
#include "core/current_work.h"
#include "tenon/error.h"
#include "tenon/llm.h"

namespace tenon::test {
namespace {

struct Fault {
  std::string name;
  std::int32_t argument = 0;
};

Fault wanted() {
  const char* variable = std::getenv("TENON_TEST_FAULT");
  const std::string text = variable == nullptr ? "" : variable;
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, 0};
  return {text.substr(0, colon), std::atoi(text.c_str() + colon + 1)};
}

/// What a process leaves behind that dies while it writes.
[[noreturn]] void send_half(const std::string& bytes) {
  (void)!::write(kWorkerSocket, bytes.data(), bytes.size());
  ::_exit(0);
}

class FaultySession : public Session {
 public:
  FaultySession(std::unique_ptr<Session> whole, Fault fault)
      : whole_(std::move(whole)), fault_(std::move(fault)) {}

  void prepare(const Batch& batch) override {
    ++steps_;
    has_token_ = false;
    for (const std::int32_t token : batch.token_ids) has_token_ |= token == fault_.argument;
    whole_->prepare(batch);
  }
  void forward() override {
    whole_->forward();
    if (fault_.name == "kill_at_step" && steps_ >= fault_.argument) ::raise(SIGKILL);
    if (fault_.name == "crash_on_token" && has_token_) {
      note_current_work("[linear] \"logits\", kernel linear_ref");
      ::raise(SIGSEGV);
    }
    if (fault_.name == "segv_on_token" && has_token_) {
      std::fputs("the last words\n", stderr);
      ::raise(SIGSEGV);
    }
    if (fault_.name == "garbage_at_step" && steps_ >= fault_.argument)
      send_half(std::string(300, 'x'));
    if (fault_.name == "half_message_at_step" && steps_ >= fault_.argument)
      send_half({"tenn\5\0\0\0\100\0", 10});
    if (fault_.name == "unasked_at_step" && steps_ >= fault_.argument)
      send_half({"tenn\6\0\0\0\0\0\0\0\0\0\0\0", 16});
    if (fault_.name == "half_result_at_step" && steps_ >= fault_.argument)
      send_half({"tenn\5\0\0\0\100\0\0\0\0\0\0\0half", 20});
    if (fault_.name == "false_result_at_step" && steps_ >= fault_.argument)
      send_half({"tenn\5\0\0\0\10\0\0\0\0\0\0\0\377\377\377\377\377\377\377\377", 24});
  }
  std::shared_ptr<StepHandle> sample(const LateInputs& late) override {
    if (fault_.name == "lost_on_token" && has_token_) {
      lost_ = true;
      throw Error(ErrorCode::kInternal, "[linear] \"logits\": an illegal memory access");
    }
    if (fault_.name == "error_on_token" && has_token_)
      throw Error(ErrorCode::kInternal, "[linear] \"logits\": a wrong grid");
    return whole_->sample(late);
  }
  Tensor read(std::string_view output) override {
    if (fault_.name == "kill_at_read") ::raise(SIGKILL);
    return whole_->read(output);
  }

  const SessionOptions& options() const override { return whole_->options(); }
  const EngineTraits& traits() const override { return whole_->traits(); }
  const std::vector<CacheGroup>& cache_groups() const override { return whole_->cache_groups(); }
  const Ledger& ledger() const override { return whole_->ledger(); }
  std::string describe() const override { return whole_->describe(); }
  std::vector<std::pair<std::string, int>> kernels() const override { return whole_->kernels(); }
  bool keeps_last_tokens() const override { return whole_->keeps_last_tokens(); }
  bool device_lost() const override { return lost_; }

 private:
  std::unique_ptr<Session> whole_;
  Fault fault_;
  int steps_ = 0;
  bool has_token_ = false;
  std::atomic<bool> lost_{false};
};

int be_parent(const std::string& model, const std::string& program) {
  LlmOptions options;
  options.device = "cpu";
  options.use_cache_folder = false;
  options.threads = 1;
  options.executor.worker_process = true;
  options.executor.worker_executable = program;
  const LLM llm(model, options);
  std::puts(llm.describe().c_str());
  std::fflush(stdout);
  while (true) ::pause();
}

}  // namespace
}  // namespace tenon::test

int main(int argc, char** argv) {
  using namespace tenon;
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "parent" && argc == 4) try {
      return test::be_parent(argv[2], argv[3]);
    } catch (const Error& error) {
      std::printf("%s: %s\n", to_string(error.code()), error.what());
      return 1;
    }
  const test::Fault fault = test::wanted();
  if (fault.name == "exit_at_load") {
    std::fputs("no luck today\n", stderr);
    return fault.argument;
  }
  ::signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would make an exit of it
  serve_worker(kWorkerSocket, [&](std::unique_ptr<Session> whole) -> std::unique_ptr<Session> {
    if (fault.name.empty()) return whole;
    return std::make_unique<test::FaultySession>(std::move(whole), fault);
  });
}
