// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "api/eval_metrics.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/llm_flags.h"
#include "core/check.h"
#include "core/file.h"
#include "core/json.h"

namespace tenon::cli {
namespace {

constexpr std::size_t kStoredTop = 128;
constexpr std::int64_t kDefaultWindow = 512;
constexpr std::int64_t kSpareTokens = 32;  // a cache block: room for the token that ends a pass

struct EvalFlags {
  ModelFlags model;
  std::string text_file, reference, reference_logprobs, save_logprobs;
  std::int64_t tokens = 0;
  std::int64_t window = 0;
  std::int64_t worst = 5;
  std::optional<double> max_kl;
  bool json = false;
};

void add_flags(CommandLine& line, EvalFlags& flags) {
  flags.model.add(line);
  line.group("Text and reference");
  line.option("--text_file", flags.text_file, "the text (not needed with --reference_logprobs)");
  line.option("--tokens", flags.tokens, "use at most that many tokens of it [all]");
  line.option(
      "--window", flags.window,
      "tokens seen together; each window starts anew [512, less where the model ends before]");
  line.option("--reference", flags.reference, "another model: how far is this one from it");
  line.option("--reference_logprobs", flags.reference_logprobs,
              "or log-probabilities that --save_logprobs wrote");
  line.option("--save_logprobs", flags.save_logprobs,
              "write this model's 128 likeliest a position");
  line.group("Output");
  line.option("--worst", flags.worst, "worst positions to list [5]");
  line.option("--max_kl", flags.max_kl, "fail (exit 1) where the mean KL is above it");
  line.flag("--json", flags.json, "print as JSON");
}

/// What would have no part in the figures is refused: a limit without a reference always holds.
void check_reference(const EvalFlags& flags) {
  TENON_CHECK(flags.reference.empty() || flags.reference_logprobs.empty(),
              ErrorCode::kInvalidArgument, "give --reference or --reference_logprobs, not both");
  TENON_CHECK(flags.text_file.empty() || flags.reference_logprobs.empty(),
              ErrorCode::kInvalidArgument,
              "--text_file: the tokens are those of --reference_logprobs; give one of the two");
  TENON_CHECK(!flags.max_kl || !flags.reference.empty() || !flags.reference_logprobs.empty(),
              ErrorCode::kInvalidArgument,
              "--max_kl: there is nothing to compare with; give --reference or "
              "--reference_logprobs");
}

LlmOptions eval_options(const EvalFlags& flags) {
  LlmOptions options = flags.model.options();
  options.gather_context_logits = true;
  if (!options.max_batch_size) options.max_batch_size = 1;
  if (!options.max_num_tokens) options.max_num_tokens = 128;
  if (!options.max_seq_len && flags.window > 0) options.max_seq_len = flags.window + 1;
  KvCacheConfig& cache = options.executor.kv_cache;
  const bool sized = cache.max_tokens || cache.max_bytes || cache.free_memory_fraction;
  if (!sized && flags.window == 0) cache.max_tokens = kDefaultWindow + kSpareTokens;
  return options;
}

std::int64_t settle_window(const EvalFlags& flags, const LLM& llm) {
  return flags.window > 0 ? flags.window : std::min(kDefaultWindow, llm.max_seq_len() - 1);
}

/// Log-probabilities of a whole reference model, kept as its likeliest tokens a position: the full
/// rows of two models at once would not fit.
StoredLogprobs collect(LLM& llm, const std::vector<std::int32_t>& ids, std::int64_t window) {
  StoredLogprobs stored;
  stored.input_ids = ids;
  for_each_position(llm, ids, window, [&](std::int64_t position, std::span<const double> logprobs) {
    stored.top.push_back(top_of(logprobs, kStoredTop));
    const auto next = ids[static_cast<std::size_t>(position) + 1];
    stored.next_logprob.push_back(static_cast<float>(logprobs[static_cast<std::size_t>(next)]));
  });
  return stored;
}

std::vector<std::int32_t> read_text(const LLM& llm, const EvalFlags& flags) {
  TENON_CHECK(!flags.text_file.empty(), ErrorCode::kInvalidArgument,
              "no text: give --text_file or --reference_logprobs");
  std::vector<std::int32_t> ids = llm.encode(read_file(flags.text_file));
  if (flags.tokens > 0 && static_cast<std::int64_t>(ids.size()) > flags.tokens + 1)
    ids.resize(static_cast<std::size_t>(flags.tokens) + 1);
  TENON_CHECK(ids.size() >= 2, ErrorCode::kInvalidArgument, "{}: the text has fewer than 2 tokens",
              flags.text_file);
  return ids;
}

std::vector<PositionFigures> measure(LLM& llm, const std::vector<std::int32_t>& ids,
                                     std::int64_t window, const StoredLogprobs* reference) {
  std::vector<PositionFigures> positions;
  for_each_position(llm, ids, window, [&](std::int64_t position, std::span<const double> logprobs) {
    PositionFigures figures;
    figures.position = position;
    figures.token = ids[static_cast<std::size_t>(position) + 1];
    figures.logprob = logprobs[static_cast<std::size_t>(figures.token)];
    if (reference != nullptr) {
      const TopLogprobs& top = reference->top[static_cast<std::size_t>(position)];
      for (const std::int32_t id : top.ids)
        TENON_CHECK(
            id >= 0 && static_cast<std::size_t>(id) < logprobs.size(), ErrorCode::kInvalidArgument,
            "the reference has token {}, this model's vocabulary ends at {}", id, logprobs.size());
      figures.kl = kl_divergence(top, logprobs);
      figures.top1_agrees = top_of(logprobs, 1).ids.front() == top.ids.front();
    }
    positions.push_back(figures);
  });
  return positions;
}

std::string token_text(const LLM& llm, std::int32_t token) {
  try {
    return llm.decode(std::span(&token, 1), /*skip_special_tokens=*/false);
  } catch (const Error&) {
    return "";  // a model without a tokenizer
  }
}

void print_figures(const EvalFigures& figures, const LLM& llm) {
  std::printf("positions            %lld\nmean NLL             %.6f\nperplexity           %.4f\n",
              static_cast<long long>(figures.positions), figures.mean_nll, figures.perplexity);
  if (figures.has_reference)
    std::printf(
        "mean KL              %.4e\nmedian / 99 %% / max  %.3e / %.3e / %.3e\n"
        "top-1 agreement      %.2f %%\n",
        figures.mean_kl, figures.median_kl, figures.p99_kl, figures.max_kl,
        100 * figures.top1_agreement);
  std::printf("worst positions:\n");
  for (const PositionFigures& worst : figures.worst)
    std::printf("  %6lld  KL %.3e  log p %8.4f  next %d %s\n",
                static_cast<long long>(worst.position), worst.kl, worst.logprob, worst.token,
                Json(token_text(llm, worst.token)).dump().c_str());
}

Json as_json(const EvalFigures& figures) {
  Json json = Json::object();
  json.set("positions", figures.positions);
  json.set("mean_nll", figures.mean_nll);
  json.set("perplexity", figures.perplexity);
  if (figures.has_reference) {
    json.set("mean_kl", figures.mean_kl);
    json.set("median_kl", figures.median_kl);
    json.set("p99_kl", figures.p99_kl);
    json.set("max_kl", figures.max_kl);
    json.set("top1_agreement", figures.top1_agreement);
  }
  Json worst = Json::array();
  for (const PositionFigures& position : figures.worst) {
    Json row = Json::object();
    row.set("position", position.position);
    row.set("token", position.token);
    row.set("logprob", position.logprob);
    row.set("kl", position.kl);
    worst.push_back(std::move(row));
  }
  json.set("worst", std::move(worst));
  return json;
}

}  // namespace

int eval_command(const Arguments& arguments) {
  EvalFlags flags;
  CommandLine line("eval",
                   "Perplexity of a model over a text, and how far it is from a reference: KL "
                   "divergence (over the reference's 128 likeliest tokens, all others as one "
                   "event), top-1 agreement, worst positions.");
  add_flags(line, flags);
  if (!line.parse(arguments)) return 0;
  TENON_CHECK(flags.window >= 0 && flags.tokens >= 0 && flags.worst >= 0,
              ErrorCode::kInvalidArgument, "--window, --tokens and --worst must be at least 0");
  check_reference(flags);

  const LlmOptions options = eval_options(flags);
  std::optional<StoredLogprobs> reference;
  std::vector<std::int32_t> ids;
  if (!flags.reference_logprobs.empty()) {
    reference = read_logprobs(flags.reference_logprobs);
    ids = reference->input_ids;
  } else if (!flags.reference.empty()) {
    LLM llm(flags.reference, options);
    ids = read_text(llm, flags);
    flags.window = settle_window(flags, llm);
    reference = collect(llm, ids, flags.window);
  }
  LLM llm(flags.model.path(), options);
  flags.window = settle_window(flags, llm);
  if (ids.empty()) ids = read_text(llm, flags);
  if (!flags.save_logprobs.empty())
    write_logprobs(flags.save_logprobs, collect(llm, ids, flags.window));
  const EvalFigures figures =
      summarise(measure(llm, ids, flags.window, reference ? &*reference : nullptr),
                reference.has_value(), static_cast<std::size_t>(flags.worst));
  if (flags.json)
    std::printf("%s\n", as_json(figures).dump(2).c_str());
  else
    print_figures(figures, llm);
  if (flags.max_kl && !(figures.mean_kl <= *flags.max_kl)) {
    std::fprintf(stderr, "tenon eval: mean KL %.4e is above --max_kl %.4e\n", figures.mean_kl,
                 *flags.max_kl);
    return 1;
  }
  return 0;
}

}  // namespace tenon::cli
