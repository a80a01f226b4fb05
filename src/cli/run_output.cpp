// SPDX-License-Identifier: Apache-2.0
#include "cli/run_output.h"

#include <algorithm>
#include <fstream>

#include <fmt/core.h>
#include "cli/npy.h"

#include "core/file.h"
#include "core/json.h"
#include "core/ledger.h"

namespace tenon::cli {
namespace {

std::vector<const CompletionOutput*> sequences_of(const std::vector<RequestOutput>& outputs) {
  std::vector<const CompletionOutput*> all;
  for (const RequestOutput& output : outputs)
    for (const CompletionOutput& sample : output.outputs) all.push_back(&sample);
  return all;
}

std::int64_t longest_of(const std::vector<const CompletionOutput*>& sequences) {
  std::size_t longest = 0;
  for (const CompletionOutput* sequence : sequences)
    longest = std::max(longest, sequence->token_ids.size());
  return static_cast<std::int64_t>(longest);
}

void write_logits(const std::string& path, const std::vector<const CompletionOutput*>& sequences) {
  const std::int64_t longest = longest_of(sequences);
  std::int64_t vocab = 0;
  for (const CompletionOutput* sequence : sequences)
    vocab = std::max(vocab, sequence->generation_logits.vocab_size);
  const auto row = static_cast<std::size_t>(longest * vocab);
  std::vector<float> values(row * sequences.size());
  for (std::size_t i = 0; i < sequences.size(); ++i)
    std::copy(sequences[i]->generation_logits.values.begin(),
              sequences[i]->generation_logits.values.end(),
              values.begin() + static_cast<std::ptrdiff_t>(i * row));
  write_npy(path, {static_cast<std::int64_t>(sequences.size()), longest, vocab}, values);
}

}  // namespace

void write_output_files(const OutputFiles& files, const std::vector<RequestOutput>& outputs) {
  const auto sequences = sequences_of(outputs);
  if (!files.csv.empty()) {
    std::string text;
    for (const CompletionOutput* sequence : sequences) {
      for (std::size_t i = 0; i < sequence->token_ids.size(); ++i)
        text += (i > 0 ? "," : "") + std::to_string(sequence->token_ids[i]);
      text += '\n';
    }
    write_file_atomically(files.csv, text);
  }
  if (!files.npy.empty()) {
    const std::int64_t longest = longest_of(sequences);
    std::vector<std::int32_t> ids;
    for (const CompletionOutput* sequence : sequences) {
      ids.insert(ids.end(), sequence->token_ids.begin(), sequence->token_ids.end());
      ids.resize(ids.size() + static_cast<std::size_t>(longest) - sequence->token_ids.size(), -1);
    }
    write_npy(files.npy, {static_cast<std::int64_t>(sequences.size()), longest}, ids);
  }
  if (!files.logits_npy.empty()) write_logits(files.logits_npy, sequences);
}

std::string outputs_as_json(const std::vector<RequestOutput>& outputs, const LLM& llm) {
  Json list = Json::array();
  for (const RequestOutput& output : outputs)
    for (const CompletionOutput& sample : output.outputs) {
      Json row = Json::object();
      row.set("prompt", output.prompt);
      row.set("prompt_tokens", static_cast<std::int64_t>(output.prompt_token_ids.size()));
      row.set("index", sample.index);
      row.set("text", sample.text);
      Json ids = Json::array();
      for (const std::int32_t id : sample.token_ids) ids.push_back(id);
      row.set("token_ids", std::move(ids));
      row.set("finish_reason", to_string(sample.finish_reason));
      row.set("time_to_first_token", output.timing.first_token_seconds);
      row.set("total_seconds", output.timing.total_seconds);
      list.push_back(std::move(row));
    }
  const LlmStatistics statistics = llm.statistics();
  const MemoryUse memory = memory_use();
  Json stats = Json::object();
  stats.set("load_seconds", statistics.load_seconds);
  stats.set("steps", statistics.steps);
  stats.set("step_seconds", statistics.step_seconds);
  stats.set("context_tokens", statistics.context_tokens);
  stats.set("generated_tokens", statistics.generated_tokens);
  stats.set("memory_anonymous_bytes", memory.anonymous);
  stats.set("memory_file_bytes", memory.files);
  Json json = Json::object();
  json.set("outputs", std::move(list));
  json.set("statistics", std::move(stats));
  json.set("precision", llm.precision());
  return json.dump(2);
}

std::string figures(const std::vector<RequestOutput>& outputs) {
  std::size_t tokens = 0;
  double total = 0;
  double first = 0;
  for (const RequestOutput& output : outputs) {
    for (const CompletionOutput& sample : output.outputs) tokens += sample.token_ids.size();
    total = std::max(total, output.timing.total_seconds);
    first = std::max(first, output.timing.first_token_seconds);
  }
  // The first token of each sequence belongs to the prompt's time.
  const double decode = total - first;
  const std::size_t sequences = sequences_of(outputs).size();
  const std::string rate =
      tokens > sequences && decode > 0
          ? fmt::format(": {:.1f} tokens/s", static_cast<double>(tokens - sequences) / decode)
          : "";  // the prompt alone was computed
  const MemoryUse memory = memory_use();
  return fmt::format(
      "{} token{} in {:.2f} s{}, first token after {:.3f} s; memory {} + {} of mapped files",
      tokens, tokens == 1 ? "" : "s", total, rate, first, format_bytes(memory.anonymous),
      format_bytes(memory.files));
}

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) use.anonymous = std::stoll(line.substr(8)) * 1024;
    if (line.starts_with("RssFile:")) use.files = std::stoll(line.substr(8)) * 1024;
  }
  return use;
}

}  // namespace tenon::cli
