// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <optional>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/input_file.h"
#include "cli/llm_flags.h"
#include "cli/npy.h"
#include "cli/run_output.h"
#include "cli/sampling_flags.h"
#include "core/check.h"

namespace tenon::cli {
namespace {

constexpr std::int64_t kDefaultOutput = 128;

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::vector<std::string> input_text;
  std::string input_file;
  std::optional<std::int64_t> max_output_len;
  bool streaming = false;
  bool chat = false;
  bool json = false;
  bool verbose = false;
  OutputFiles files;
  std::vector<std::string> dump;
  std::string dump_dir = ".";
};

void add_flags(CommandLine& line, RunFlags& flags) {
  flags.model.add(line);
  line.group("Input");
  line.option("--input_text", flags.input_text, "one or several prompts");
  line.option("--input_file", flags.input_file, ".txt, .jsonl, .csv or .npy of token ids");
  line.flag("--chat", flags.chat, "each prompt is a user's message: apply the chat template");
  line.group("Output");
  line.option("--max_output_len", flags.max_output_len,
              "tokens to generate at most [128, less where the context ends before]");
  line.flag("--streaming", flags.streaming, "print text as it appears");
  line.flag("--json", flags.json, "print everything as JSON");
  line.flag("--verbose", flags.verbose, "print the memory plan too");
  line.option("--output_csv", flags.files.csv, "file for the output ids");
  line.option("--output_npy", flags.files.npy, "file for the output ids");
  line.option("--output_logits_npy", flags.files.logits_npy, "file for the generation logits");
  line.option("--dump", flags.dump,
              "names of values (see tenon inspect --graph) to write as NAME.npy for the prompt");
  line.option("--dump_dir", flags.dump_dir, "where they go [.]");
  flags.sampling.add(line);
}

/// The dumped values of the first prompt.
void dump_values(LLM& llm, const RunFlags& flags, const std::vector<std::int32_t>& ids) {
  for (const std::string& name : flags.dump) {
    Shape shape;
    const std::vector<float> values = llm.tap(ids, name, shape);
    const std::string path = flags.dump_dir + "/" + name + ".npy";
    write_npy(path, shape, values);
    std::fprintf(stderr, "%s %s → %s\n", name.c_str(), to_string(shape).c_str(), path.c_str());
  }
}

std::vector<std::vector<std::int32_t>> encode_prompts(const LLM& llm, const RunFlags& flags,
                                                      Prompts& prompts) {
  if (!prompts.ids.empty()) return prompts.ids;
  std::vector<std::vector<std::int32_t>> ids;
  for (std::string& text : prompts.texts) {
    if (flags.chat) text = llm.apply_chat_template({{"user", text}});
    ids.push_back(llm.encode(text, /*add_special_tokens=*/!flags.chat));
  }
  return ids;
}

/// As asked for; else the default, or what the longest prompt leaves of the context.
std::int32_t max_tokens(const RunFlags& flags, const LLM& llm,
                        const std::vector<std::vector<std::int32_t>>& ids) {
  if (!flags.max_output_len) {
    std::int64_t room = kDefaultOutput;
    for (const auto& prompt : ids)
      room = std::min(room, llm.max_seq_len() - static_cast<std::int64_t>(prompt.size()));
    return static_cast<std::int32_t>(std::max<std::int64_t>(room, 1));
  }
  TENON_CHECK(*flags.max_output_len >= 1 &&
                  *flags.max_output_len <= std::numeric_limits<std::int32_t>::max(),
              ErrorCode::kInvalidArgument, "--max_output_len: {} is out of range, expected 1 to {}",
              *flags.max_output_len, std::numeric_limits<std::int32_t>::max());
  return static_cast<std::int32_t>(*flags.max_output_len);
}

/// Prints pieces as they come; with several prompts each line says whose it is.
OnText printer(std::size_t sequences) {
  if (sequences == 1)
    return [](const TextDelta& delta) {
      std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
      if (delta.finished) std::fputc('\n', stdout);
      std::fflush(stdout);
      return true;
    };
  return [](const TextDelta& delta) {
    if (!delta.text.empty())
      std::printf("[%zu.%d] %s\n", delta.request, delta.sample, delta.text.c_str());
    std::fflush(stdout);
    return true;
  };
}

/// What only the loaded model can refuse is said in the words of the command line too.
std::vector<RequestOutput> generate(LLM& llm, const std::vector<std::vector<std::int32_t>>& ids,
                                    const SamplingParams& sampling, const OnText& on_text) {
  try {
    return llm.generate_ids(ids, sampling, on_text);
  } catch (const Error& error) {
    throw Error(error.code(), in_flag_words(error.what()));
  }
}

void print_outputs(const std::vector<RequestOutput>& outputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i)
    for (const CompletionOutput& sample : outputs[i].outputs) {
      if (outputs.size() > 1 || outputs[i].outputs.size() > 1)
        std::printf("[%zu.%d] ", i, sample.index);
      std::printf("%s\n", sample.text.c_str());
    }
}

/// A time limit leaves outputs short, or empty.
void say_what_was_cut(const std::vector<RequestOutput>& outputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i)
    for (const CompletionOutput& sample : outputs[i].outputs)
      if (sample.finish_reason == FinishReason::kTimedOut)
        std::fprintf(
            stderr,
            "[%zu.%d] the time was up after %zu tokens (--queue_seconds, --total_seconds)\n", i,
            sample.index, sample.token_ids.size());
}

}  // namespace

int run_command(const Arguments& arguments) {
  RunFlags flags;
  CommandLine line("run",
                   "Completes texts. What is missing on the way from a model to an engine is made "
                   "and kept in the cache folder (tenon cache).");
  add_flags(line, flags);
  line.footer(
      "Example: tenon run --model_dir model.gguf --chat --streaming --input_text \"Hello\"");
  if (!line.parse(arguments)) return 0;

  const std::string path = flags.model.path();
  TENON_CHECK(flags.input_text.empty() || flags.input_file.empty(), ErrorCode::kInvalidArgument,
              "give --input_text or --input_file, not both");
  Prompts prompts;
  prompts.texts = flags.input_text;
  if (!flags.input_file.empty()) prompts = read_input_file(flags.input_file);
  TENON_CHECK(!prompts.texts.empty() || !prompts.ids.empty(), ErrorCode::kInvalidArgument,
              "no prompt: give --input_text or --input_file");

  LlmOptions options = flags.model.options();
  options.taps = flags.dump;
  LLM llm(path, options);
  SamplingParams sampling = flags.sampling.apply(llm.default_sampling());
  sampling.return_generation_logits = !flags.files.logits_npy.empty();
  const auto ids = encode_prompts(llm, flags, prompts);
  sampling.max_tokens = max_tokens(flags, llm, ids);
  if (!flags.json) {
    std::fprintf(stderr, "%ssampling: %s\n", llm.describe().c_str(), describe(sampling).c_str());
    if (flags.verbose) std::fputs(llm.memory_plan().c_str(), stderr);
  }
  if (!flags.dump.empty()) dump_values(llm, flags, ids.front());

  const std::size_t sequences = ids.size() * static_cast<std::size_t>(sampling.n);
  std::vector<RequestOutput> outputs =
      generate(llm, ids, sampling, flags.streaming && !flags.json ? printer(sequences) : OnText{});
  for (std::size_t i = 0; i < prompts.texts.size(); ++i) outputs[i].prompt = prompts.texts[i];
  if (flags.json) {
    std::printf("%s\n", outputs_as_json(outputs, llm).c_str());
  } else {
    if (!flags.streaming) print_outputs(outputs);
    say_what_was_cut(outputs);
    std::fprintf(stderr, "%s\n", figures(outputs).c_str());
  }
  write_output_files(flags.files, outputs);  // last: a file that cannot be written costs no text
  return 0;
}

}  // namespace tenon::cli
