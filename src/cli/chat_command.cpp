// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "api/engine_cache.h"
#include "cli/chat_session.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/llm_flags.h"
#include "cli/run_output.h"
#include "cli/sampling_flags.h"
#include "core/check.h"
#include "core/nearest_name.h"

namespace tenon::cli {
namespace {

constexpr const char* kCommands =
    "  /system TEXT  set the system text (without TEXT: remove it)\n"
    "  /reset        forget the conversation; the system text stays\n"
    "  /save FILE    write the conversation as JSON\n"
    "  /load FILE    go on with a saved conversation\n"
    "  /help         this list\n"
    "  /quit         leave (also Ctrl-D, or Ctrl-C twice)\n"
    "A line that ends in \\ goes on in the next; // at its start sends one /.\n"
    "Ctrl-C stops an answer.\n";

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string system;
  std::int64_t max_output_len = 0;
  bool verbose = false;
};

/// While an answer is made: Ctrl-C ends it, also before its first token.
class AnswerStopper {
 public:
  explicit AnswerStopper(LLM& llm) {
    InterruptGuard::clear();
    thread_ = std::thread([this, &llm] {
      while (!done_.load() && !InterruptGuard::pending())
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      while (!done_.load()) {  // the request may not be enqueued yet: ask again
        llm.cancel_all();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
  }
  ~AnswerStopper() {
    done_.store(true);
    thread_.join();
  }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class Chat {
 public:
  Chat(LLM& llm, const SamplingParams& sampling, const ChatFlags& flags, LineReader& reader)
      : llm_(llm), session_(llm, sampling, flags.max_output_len), reader_(reader), flags_(flags) {
    session_.set_system(flags.system);
  }

  void run() {
    bool interrupted = false;
    for (std::string line;;) {
      InterruptGuard::clear();
      const LineReader::Event event = reader_.read(line);
      if (event == LineReader::Event::kEnd) return;
      if (event == LineReader::Event::kInterrupted) {
        if (interrupted || !reader_.interactive()) return;
        interrupted = true;
        std::fputs("(Ctrl-C again, Ctrl-D or /quit to leave)\n", stderr);
        continue;
      }
      interrupted = false;
      try {
        if (!handle(line)) return;
      } catch (const Error& error) {
        // A script should fail; a person may go on.
        if (!reader_.interactive() || error.code() == ErrorCode::kInternal) throw;
        std::fprintf(stderr, "%s\n", error.what());
      }
    }
  }

 private:
  /// False where it was the last line.
  bool handle(const std::string& line) {
    if (line.empty()) return true;
    if (line.starts_with("//")) {
      ask(line.substr(1));
    } else if (line.starts_with('/')) {
      return obey(line);
    } else {
      ask(line);
    }
    return true;
  }

  bool obey(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    std::string rest = space == line.npos ? "" : line.substr(space + 1);
    while (rest.starts_with(' ')) rest.erase(0, 1);
    while (rest.ends_with(' ')) rest.pop_back();
    const auto file = [&] {
      TENON_CHECK(!rest.empty(), ErrorCode::kInvalidArgument, "{} needs a file's name", word);
      return rest;
    };
    if (word == "/quit" || word == "/exit") return false;
    if (word == "/help") {
      std::fputs(kCommands, stderr);
    } else if (word == "/reset") {
      session_.reset();
      std::fputs("(the conversation starts anew)\n", stderr);
    } else if (word == "/system") {
      session_.set_system(rest);
    } else if (word == "/save") {
      session_.save(file());
      std::fprintf(stderr, "(%zu messages → %s)\n", session_.messages().size(), rest.c_str());
    } else if (word == "/load") {
      session_.load(file());
      std::fprintf(stderr, "(%zu messages from %s)\n", session_.messages().size(), rest.c_str());
    } else {
      const std::string known[] = {"/system", "/reset", "/save", "/load", "/help", "/quit"};
      fail(ErrorCode::kInvalidArgument, "there is no {}{}; /help lists what there is", word,
           did_you_mean(word, known));
    }
    return true;
  }

  void ask(const std::string& text) {
    Answer answer;
    {
      const AnswerStopper stopper(llm_);
      answer = session_.ask(text, [](const TextDelta& delta) {
        std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
        std::fflush(stdout);
        return !InterruptGuard::pending();
      });
    }
    std::fputc('\n', stdout);
    std::fflush(stdout);
    if (InterruptGuard::pending())
      std::fputs("(stopped)\n", stderr);
    else if (answer.output.outputs.front().finish_reason == FinishReason::kLength)
      std::fprintf(stderr, "(cut off after %zu tokens: %s)\n",
                   answer.output.outputs.front().token_ids.size(), why_cut(answer).c_str());
    if (answer.dropped > 0)
      std::fprintf(stderr,
                   "(%zu old messages no longer fit the context of %lld tokens and were "
                   "left out)\n",
                   answer.dropped, static_cast<long long>(llm_.max_seq_len()));
    if (flags_.verbose)
      std::fprintf(stderr, "(%zu tokens of context; %s)\n", answer.output.prompt_token_ids.size(),
                   figures({answer.output}).c_str());
  }

  std::string why_cut(const Answer& answer) const {
    const auto length = static_cast<std::int64_t>(answer.output.outputs.front().token_ids.size());
    return flags_.max_output_len > 0 && length >= flags_.max_output_len
               ? "--max_output_len"
               : "the context is full, see --max_seq_len";
  }

  LLM& llm_;
  ChatSession session_;
  LineReader& reader_;
  const ChatFlags& flags_;
};

void add_flags(CommandLine& line, ChatFlags& flags) {
  flags.model.add(line);
  line.group("Conversation");
  line.option("--system", flags.system, "system text");
  line.option("--max_output_len", flags.max_output_len,
              "tokens of one answer at most [as the context allows]");
  line.flag("--verbose", flags.verbose,
            "show kernels, the memory plan, and figures of each answer");
  flags.sampling.add(line);
  line.footer(std::string("At the prompt:\n") + kCommands +
              "In a script: printf 'Hello\\n/quit\\n' | tenon chat MODEL");
}

}  // namespace

int chat_command(const Arguments& arguments) {
  ChatFlags flags;
  CommandLine line("chat",
                   "Talks with a model. Answers go to standard output, everything else to standard "
                   "error; lines come from a terminal (edited, with a history in the cache folder) "
                   "or from a script.");
  add_flags(line, flags);
  if (!line.parse(arguments)) return 0;

  LlmOptions options = flags.model.options();
  if (!options.max_batch_size) options.max_batch_size = flags.sampling.sequences();
  LLM llm(flags.model.path(), options);
  TENON_CHECK(llm.has_chat_template(), ErrorCode::kNotFound,
              "{}: the model has no chat template; give one with --chat_template FILE, or complete "
              "texts with tenon run",
              flags.model.path());
  const SamplingParams sampling = flags.sampling.apply(llm.default_sampling());
  TENON_CHECK(sampling.n == 1, ErrorCode::kInvalidArgument,
              "--num_return_sequences: a chat has one answer a message");
  if (flags.verbose)
    std::fprintf(stderr, "%s%s", llm.describe().c_str(), llm.memory_plan().c_str());
  else
    std::fprintf(stderr, "%s\n", llm.precision().c_str());
  std::fprintf(stderr, "%s, context %lld tokens, sampling: %s; /help for help\n",
               llm.config().architecture.c_str(), static_cast<long long>(llm.max_seq_len()),
               describe(sampling).c_str());

  const InterruptGuard guard;
  LineReader reader(options.use_cache_folder ? cache_folder() / "chat_history"
                                             : std::filesystem::path());
  Chat(llm, sampling, flags, reader).run();
  return 0;
}

}  // namespace tenon::cli
