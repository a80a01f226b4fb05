// tenon: the command line. One verb a file; this one finds the verb and turns errors into exit
// codes.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "core/check.h"
#include "core/log.h"
#include "core/nearest_name.h"
#include "tenon/version.h"

namespace tenon::cli {
namespace {

constexpr Command kCommands[] = {
    {"convert", "a Hugging Face directory or GGUF file → a checkpoint", convert_command},
    {"build", "a checkpoint or model → an engine", build_command},
    {"run", "complete texts", run_command},
    {"chat", "talk with a model", chat_command},
    {"bench", "throughput and latency of an engine, beside the machine's limits", bench_command},
    {"eval", "perplexity, and how far one model is from another", eval_command},
    {"inspect", "what is in a model, checkpoint or engine", inspect_command},
    {"plan", "what a run would take of the memory, and what would fit", plan_command},
    {"doctor", "what this machine has, and what Tenon will use", doctor_command},
    {"cache", "engines made on the way: see and empty them", cache_command},
};

void print_help() {
  std::printf(
      "tenon %s: turns language-model checkpoints into engines and runs them\n\n"
      "Usage: tenon COMMAND [OPTIONS]\n\nCommands:\n",
      kVersion);
  for (const Command& command : kCommands)
    std::printf("  %-9s %s\n", command.name, command.summary);
  std::printf(
      "\n`tenon COMMAND --help` lists a command's options.\n"
      "TENON_LOG=dispatch,load,cache shows why kernels were chosen, the memory plan, the "
      "cache.\n");
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return 2;
    case ErrorCode::kNotFound: return 3;
    case ErrorCode::kIo: return 4;
    case ErrorCode::kCorrupt: return 5;
    case ErrorCode::kUnsupported: return 6;
    case ErrorCode::kResourceExhausted: return 7;
    case ErrorCode::kCancelled: return 130;
    case ErrorCode::kInternal: return 70;
  }
  return 70;
}

int dispatch(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_help();
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version") {
    std::printf("tenon %s\n", kVersion);
    return 0;
  }
  if (words[0] == "worker") return worker_command({words.begin() + 1, words.end()});
  for (const Command& command : kCommands)
    if (words[0] == command.name) return command.run({words.begin() + 1, words.end()});
  std::vector<std::string> names;
  for (const Command& command : kCommands) names.emplace_back(command.name);
  fail(ErrorCode::kInvalidArgument, "unknown command \"{}\"{}; see tenon --help", words[0],
       did_you_mean(words[0], names));
}

/// Ends with `code`, unless what was printed did not arrive: a full disk is a fault too.
int with_output_written(int code) {
  errno = 0;
  const bool failed = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !failed) return code;
  fail(ErrorCode::kIo,
       "standard output: cannot write all of it: {}; free some space or send it elsewhere",
       errno != 0 ? std::strerror(errno) : "a write before failed");
}

}  // namespace
}  // namespace tenon::cli

int main(int argc, char** argv) {
  tenon::log::enabled("all");  // warns of unknown topics, whatever the command
  try {
    return tenon::cli::with_output_written(tenon::cli::dispatch({argv + 1, argv + argc}));
  } catch (const tenon::Error& error) {
    std::fprintf(stderr, "tenon: %s\n", error.what());
    return tenon::cli::exit_code(error.code());
  } catch (const std::bad_alloc&) {
    std::fputs("tenon: out of memory\n", stderr);
    return tenon::cli::exit_code(tenon::ErrorCode::kResourceExhausted);
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "tenon: %s\n", error.what());
    return tenon::cli::exit_code(tenon::ErrorCode::kIo);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tenon: bug: %s\n", error.what());
    return tenon::cli::exit_code(tenon::ErrorCode::kInternal);
  }
}
