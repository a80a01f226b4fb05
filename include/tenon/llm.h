// LLM: text in, text out. One object serves any number of threads; requests of all of them run
// together in one packed batch.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenon/chat.h"
#include "tenon/engine.h"
#include "tenon/error.h"
#include "tenon/executor_config.h"
#include "tenon/export.h"
#include "tenon/request.h"
#include "tenon/sampling.h"
#include "tenon/statistics.h"
#include "tenon/types.h"

namespace tenon {

/// What a run may choose; unset fields follow the engine's build config and the machine.
struct TENON_API LlmOptions {
  Mapping mapping{};  ///< ranks are threads of this process
  /// "auto" (a GPU where one can be used, else the CPU), "cpu", "cuda" or "cuda:N".
  std::string device = "auto";
  int threads = 0;          ///< 0: the physical cores that this process may use
  bool pin_threads = true;  ///< CPU: each thread to a physical core
  // Unset: what the engine was built for; else 16, 512, and the model's positions, at most 4096.
  std::optional<std::int64_t> max_batch_size{};   ///< sequences in flight
  std::optional<std::int64_t> max_num_tokens{};   ///< tokens of one step
  std::optional<std::int64_t> max_seq_len{};      ///< of one sequence
  std::optional<std::int64_t> kv_cache_tokens{};  ///< the same as executor.kv_cache.max_tokens
  /// Bytes for everything that the plan counts; a load that takes more is refused, and a cache
  /// whose size is not given keeps within it. Unset: what the device has.
  std::optional<std::int64_t> memory_limit{};
  /// float32, float16, bfloat16, float8_e4m3 or int8 ("auto": float32 on a CPU, bfloat16 on a GPU).
  std::string kv_cache_dtype = "auto";
  /// Precision to which kernels may round the inputs of linear layers: float32 (not at all),
  /// bfloat16, or float8_e4m3 (each row under a scale of its own; layers whose weights are fp8, the
  /// others at most to bfloat16). "auto": float32 on a CPU, bfloat16 on a GPU.
  std::string activation_dtype = "auto";
  bool deterministic = false;          ///< the same numbers whatever else is in the batch
  bool gather_context_logits = false;  ///< makes LLM::logits() faster
  std::string max_isa{};               ///< CPU: "", "baseline", "avx2", "avx512", "amx"
  /// Where a GPU's kernels have several ways to multiply: "auto" takes those that were measured to
  /// be fastest on this device, and measures (for some seconds, at the first load) what is not
  /// known yet; "off" takes the usual ones; "refresh" measures again. What was measured is kept in
  /// the engine's directory, or in the cache folder where that cannot be written. Deterministic
  /// mode takes the usual ones.
  std::string tactics = "auto";
  /// Values to keep for tap(): names as the graph prints them.
  std::vector<std::string> taps{};
  /// Chat template instead of the model's own.
  std::string chat_template{};
  /// Cache, scheduling, queue.
  ExecutorConfig executor{};
  bool use_cache_folder = true;  ///< a model that is no engine is built into the cache folder
};

/// How likely a token was, and what was likelier.
struct TENON_API TokenLogprobs {
  std::int32_t token_id = 0;                          ///< the token that came
  float logprob = 0.0F;                               ///< natural logarithm of its probability
  std::vector<std::pair<std::int32_t, float>> top{};  ///< likeliest tokens, best first
};

/// Logits of consecutive tokens of one request, from its own positions.
struct TENON_API TokenLogits {
  std::int64_t first_position = 0;  ///< of the first row
  std::int64_t vocab_size = 0;      ///< numbers of a row
  std::vector<float> values{};      ///< [positions, vocab_size]
};

/// One sample or beam of a request.
struct TENON_API CompletionOutput {
  int index = 0;                          ///< which of the request's n samples
  std::string text{};                     ///< of token_ids, without special tokens
  std::vector<std::int32_t> token_ids{};  ///< what was generated
  FinishReason finish_reason = FinishReason::kNotFinished;  ///< why it ended
  float cumulative_logprob = 0.0F;        ///< where log-probabilities were asked for
  float score = 0.0F;                     ///< of a beam: see SamplingParams::length_penalty
  std::vector<TokenLogprobs> logprobs{};  ///< one a token, where asked for
  TokenLogits generation_logits{};        ///< one row a token, where asked for
};

/// What a prompt gave.
struct TENON_API RequestOutput {
  std::string prompt{};                          ///< as it was given, or after the chat template
  std::vector<std::int32_t> prompt_token_ids{};  ///< what the model saw
  std::vector<CompletionOutput> outputs{};       ///< SamplingParams::n of them
  std::vector<TokenLogprobs> prompt_logprobs{};  ///< of prompt tokens 1, 2, …, where asked for
  TokenLogits context_logits{};                  ///< one row a prompt token, where asked for
  RequestTiming timing{};                        ///< how long each part took
};

/// A prompt in any form: text as it is, token ids, or messages for the chat template.
struct TENON_API Prompt {
  std::string text{};                     ///< as it is
  std::vector<std::int32_t> token_ids{};  ///< or these
  std::vector<ChatMessage> messages{};    ///< or a conversation
};

/// A piece of text of one sample as it appears. Never ends inside a character.
struct TENON_API TextDelta {
  std::size_t request = 0;  ///< index in the call's prompts
  int sample = 0;           ///< index of the sample in the request
  std::string text{};       ///< what is new
  bool finished = false;    ///< the sample's last piece
};

/// Called from the thread that called generate(). It may block: only its own call waits. false ends
/// that sample with FinishReason::kStopWords, with the text so far. With beam search or best_of the
/// text of each output comes in one piece at the end.
using OnText = std::function<bool(const TextDelta&)>;

/// A request under way. Letting go of it cancels it.
class TENON_API Generation {
 public:
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  /// The next piece of text; nothing when `seconds` have passed (0: at once) or all has come.
  std::optional<TextDelta> next(std::optional<double> seconds = std::nullopt);
  bool done() const;  ///< nothing more will come
  void cancel();      ///< ends with FinishReason::kCancelled
  /// Waits for the end. Throws what the request failed with. Once.
  RequestOutput wait();

 private:
  friend class LLM;
  struct Impl;
  explicit Generation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Those of its executor, and how long loading took.
struct TENON_API LlmStatistics : ExecutorStatistics {
  double load_seconds = 0;  ///< from the constructor's begin to its end
};

class TENON_API LLM {
 public:
  /// `path_or_id`: an engine directory, or anything PretrainedModel::from_pretrained takes; what is
  /// missing is built into the cache folder.
  explicit LLM(const std::string& path_or_id, const LlmOptions& options = {});
  explicit LLM(const Engine& engine, const LlmOptions& options = {});
  ~LLM();
  LLM(LLM&&) noexcept;
  LLM& operator=(LLM&&) noexcept;

  /// Completes each text as it is; of more than the queue holds (ExecutorConfig::max_queue_size)
  /// the rest take their turns. Throws Error{kInvalidArgument} naming the field of a wrong request;
  /// a request that fails later makes the call throw after the others have ended.
  std::vector<RequestOutput> generate(const std::vector<std::string>& prompts,
                                      const SamplingParams& sampling, const OnText& on_text = {});
  /// With the model's own sampling defaults (generation_config.json).
  std::vector<RequestOutput> generate(const std::vector<std::string>& prompts,
                                      const OnText& on_text = {});
  /// The same from token ids.
  std::vector<RequestOutput> generate_ids(const std::vector<std::vector<std::int32_t>>& prompts,
                                          const SamplingParams& sampling,
                                          const OnText& on_text = {});
  /// Applies the chat template, then generates.
  RequestOutput chat(const std::vector<ChatMessage>& messages, const SamplingParams& sampling,
                     const OnText& on_text = {});

  /// Prompts in any form, with options for all of them.
  std::vector<RequestOutput> generate(const std::vector<Prompt>& prompts,
                                      const SamplingParams& sampling, const RequestOptions& options,
                                      const OnText& on_text = {});
  /// Returns at once. Throws as generate() does for a wrong request. Many may be under way; the LLM
  /// must outlive them.
  Generation generate_async(const Prompt& prompt, const SamplingParams& sampling,
                            const RequestOptions& options = {});

  /// The hidden state of each text's last token after the last norm, one row a text; `normalize`:
  /// of length 1.
  std::vector<std::vector<float>> embed(const std::vector<std::string>& texts,
                                        bool normalize = true);

  /// Ends everything that runs now with FinishReason::kCancelled.
  void cancel_all();
  /// Takes nothing new and returns when all has ended, or false after `seconds`.
  bool drain(std::optional<double> seconds = std::nullopt);
  ExecutorHealth health() const;  ///< whether it takes requests, and why not
  /// Of the steps since the last call, oldest first.
  std::vector<IterationStatistics> take_iteration_statistics();

  /// Logits of every token of `ids`. LlmOptions::gather_context_logits makes it faster.
  TokenLogits logits(const std::vector<std::int32_t>& ids);
  /// A tapped value of a step over `ids` alone: [tokens, width] as float.
  std::vector<float> tap(const std::vector<std::int32_t>& ids, const std::string& name,
                         std::vector<std::int64_t>& shape);

  /// Token ids; special tokens that stand in the text are taken as such.
  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// Text; ids outside of the vocabulary give none.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;
  /// Throws Error{kNotFound} where the model has no template.
  std::string apply_chat_template(const std::vector<ChatMessage>& messages,
                                  bool add_generation_prompt = true) const;
  bool has_chat_template() const;  ///< of the model, or given

  /// From generation_config.json; greedy where there is none.
  const SamplingParams& default_sampling() const;
  const PretrainedConfig& config() const;   ///< of the model
  const BuildConfig& build_config() const;  ///< of the engine
  /// Tokens that one sequence, prompt and answer, may have: the limit asked for, or the cache's
  /// size.
  std::int64_t max_seq_len() const;
  /// In what weights, activations and cache are held, and how far that is from exact where it was
  /// measured: one line.
  std::string precision() const;
  /// What it runs on, the precision, which kernels serve: lines of text.
  std::string describe() const;
  std::string memory_plan() const;   ///< the ledger, row by row, as text
  LlmStatistics statistics() const;  ///< counts since the start

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon
