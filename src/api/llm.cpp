// SPDX-License-Identifier: Apache-2.0
#include "tenon/llm.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "api/engine_impl.h"
#include "api/load_engine.h"
#include "api/precision.h"
#include "api/session_options.h"
#include "api/text_assets.h"
#include "api/text_sink.h"
#include "core/check.h"
#include "core/dtype.h"
#include "core/half.h"
#include "runtime/executor.h"

namespace tenon {

struct LLM::Impl {
  std::shared_ptr<Engine::Impl> engine;
  TextAssets text;
  std::unique_ptr<Executor> executor;
  double load_seconds = 0;
  std::mutex mutex;
  std::set<RequestId> active;

  Impl(std::shared_ptr<Engine::Impl> opened, const LlmOptions& options)
      : engine(std::move(opened)) {
    const auto begin = std::chrono::steady_clock::now();
    load_text(options);
    auto session = Session::load(engine->graphs, engine->source.weights,
                                 session_options(options, engine->build));
    executor = std::make_unique<Executor>(std::move(session),
                                          ExecutorOptions{.max_queue = std::int64_t{1} << 20});
    load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// A model that was not written to a directory keeps its text in the GGUF file's metadata.
  void load_text(const LlmOptions& options) {
    if (engine->source.gguf == nullptr) {
      text = load_text_assets(engine->source.text_directory, engine->source.config,
                              options.chat_template);
      return;
    }
    const StagedTextDirectory staged(engine->source);
    text = load_text_assets(staged.path(), engine->source.config, options.chat_template);
  }

  const Tokenizer& tokenizer() const {
    TENON_CHECK(text.tokenizer != nullptr, ErrorCode::kNotFound,
                "{}: the engine has no tokenizer; give token ids, or put a tokenizer.json into the "
                "model's directory and build again",
                engine->source.name);
    return *text.tokenizer;
  }

  /// Also notes the request's id in `requests`; forget() them when they have ended.
  std::shared_ptr<TextSink> enqueue(std::size_t index, std::vector<std::int32_t> ids,
                                    const SamplingParams& sampling, const OnText& on_text,
                                    const std::shared_ptr<Completion>& completion,
                                    std::vector<RequestId>& requests, bool context_logits = false) {
    Request request;
    request.input_ids = std::move(ids);
    request.sampling = sampling;
    request.end_ids = text.end_ids;
    request.context_logits = context_logits;
    request.generation_logits =
        sampling.return_generation_logits || engine->build.gather_generation_logits;
    auto sink = std::make_shared<TextSink>(index, text.tokenizer, sampling, text.end_ids, on_text,
                                           completion);
    request.sink = sink;
    completion->add(sampling.n);
    try {
      const std::lock_guard lock(mutex);  // held for both: cancel_all() misses nothing that runs
      requests.push_back(executor->enqueue(std::move(request)));
      active.insert(requests.back());
    } catch (...) {
      for (int sample = 0; sample < sampling.n; ++sample) completion->finish_one();
      throw;
    }
    return sink;
  }

  std::vector<RequestOutput> generate(const std::vector<std::vector<std::int32_t>>& prompts,
                                      const SamplingParams& sampling, const OnText& on_text) {
    validate(sampling);
    auto completion = std::make_shared<Completion>();
    std::vector<std::shared_ptr<TextSink>> sinks;
    std::vector<RequestId> requests;
    try {
      for (std::size_t i = 0; i < prompts.size(); ++i)
        sinks.push_back(enqueue(i, prompts[i], sampling, on_text, completion, requests));
    } catch (...) {
      for (const RequestId id : requests) executor->cancel(id);  // of this call alone
      completion->wait();
      forget(requests);
      throw;
    }
    completion->wait();
    forget(requests);
    std::vector<RequestOutput> outputs;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      outputs.push_back(sinks[i]->take());
      outputs.back().prompt_token_ids = prompts[i];
    }
    return outputs;
  }

  void cancel() {
    const std::lock_guard lock(mutex);
    for (const RequestId id : active) executor->cancel(id);
  }

  void forget(const std::vector<RequestId>& requests) {
    const std::lock_guard lock(mutex);
    for (const RequestId id : requests) active.erase(id);
  }

  /// One pass over `ids` that stops at the first sampled token.
  TokenLogits one_pass(const std::vector<std::int32_t>& ids, bool context_logits) {
    SamplingParams sampling;
    sampling.temperature = 0.0F;
    sampling.max_tokens = 1;
    auto completion = std::make_shared<Completion>();
    std::vector<RequestId> requests;
    auto sink = enqueue(0, ids, sampling, {}, completion, requests, context_logits);
    completion->wait();
    forget(requests);
    return std::move(sink->take().outputs.front().generation_logits);
  }
};

LLM::LLM(const std::string& path_or_id, const LlmOptions& options) {
  load_engine(path_or_id, options.use_cache_folder, [&](std::shared_ptr<Engine::Impl> engine) {
    impl_ = std::make_unique<Impl>(std::move(engine), options);
  });
}
LLM::LLM(const Engine& engine, const LlmOptions& options)
    : impl_(std::make_unique<Impl>(engine.impl(), options)) {}
LLM::~LLM() = default;
LLM::LLM(LLM&&) noexcept = default;
LLM& LLM::operator=(LLM&&) noexcept = default;

std::vector<RequestOutput> LLM::generate(const std::vector<std::string>& prompts,
                                         const SamplingParams& sampling, const OnText& on_text) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const std::string& prompt : prompts) ids.push_back(encode(prompt));
  std::vector<RequestOutput> outputs = impl_->generate(ids, sampling, on_text);
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].prompt = prompts[i];
  return outputs;
}

std::vector<RequestOutput> LLM::generate(const std::vector<std::string>& prompts,
                                         const OnText& on_text) {
  return generate(prompts, default_sampling(), on_text);
}

std::vector<RequestOutput> LLM::generate_ids(const std::vector<std::vector<std::int32_t>>& prompts,
                                             const SamplingParams& sampling,
                                             const OnText& on_text) {
  return impl_->generate(prompts, sampling, on_text);
}

RequestOutput LLM::chat(const std::vector<ChatMessage>& messages, const SamplingParams& sampling,
                        const OnText& on_text) {
  const std::string prompt = apply_chat_template(messages);
  // The template writes the special tokens itself.
  std::vector<RequestOutput> outputs =
      impl_->generate({encode(prompt, /*add_special_tokens=*/false)}, sampling, on_text);
  outputs.front().prompt = prompt;
  return std::move(outputs.front());
}

void LLM::cancel_all() { impl_->cancel(); }

TokenLogits LLM::logits(const std::vector<std::int32_t>& ids) {
  return impl_->one_pass(ids, /*context_logits=*/true);
}

std::vector<float> LLM::tap(const std::vector<std::int32_t>& ids, const std::string& name,
                            std::vector<std::int64_t>& shape) {
  const std::int64_t limit = impl_->executor->session().options().max_step_tokens;
  TENON_CHECK(static_cast<std::int64_t>(ids.size()) <= limit, ErrorCode::kInvalidArgument,
              "tap: {} tokens; a tap shows one step, which holds at most {} (max_num_tokens)",
              ids.size(), limit);
  impl_->one_pass(ids, /*context_logits=*/false);
  const Tensor value = impl_->executor->session().read(name);
  shape.assign(value.shape().begin(), value.shape().end());
  std::vector<float> values(static_cast<std::size_t>(value.view().elements()));
  convert_to_float(value.dtype(), value.data(), values.data(), values.size());
  return values;
}

std::vector<std::int32_t> LLM::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->tokenizer().encode(text, add_special_tokens);
}

std::string LLM::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  return impl_->tokenizer().decode(ids, skip_special_tokens);
}

std::string LLM::apply_chat_template(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt) const {
  TENON_CHECK(impl_->text.chat_template != nullptr, ErrorCode::kNotFound,
              "{}: the model has no chat template; give one with --chat_template, or complete text "
              "without --chat",
              impl_->engine->source.name);
  const Tokenizer& tokenizer = impl_->tokenizer();
  ChatTemplateInput input;
  input.messages = to_json(messages);
  input.add_generation_prompt = add_generation_prompt;
  if (tokenizer.bos_id()) input.bos_token = tokenizer.token_text(*tokenizer.bos_id());
  if (tokenizer.eos_id()) input.eos_token = tokenizer.token_text(*tokenizer.eos_id());
  return impl_->text.chat_template->render(input);
}

bool LLM::has_chat_template() const { return impl_->text.chat_template != nullptr; }
const SamplingParams& LLM::default_sampling() const { return impl_->text.sampling; }
const PretrainedConfig& LLM::config() const { return impl_->engine->source.config; }
const BuildConfig& LLM::build_config() const { return impl_->engine->build; }

std::int64_t LLM::max_seq_len() const {
  const Session& session = impl_->executor->session();
  std::int64_t longest = session.options().max_sequence_length;
  for (const Session::CacheGroup& group : session.cache_groups())
    longest = std::min(longest, group.blocks * session.options().tokens_per_block);
  return longest;
}

/// bfloat16 counts as the activations' precision where some kernel does read them so.
std::string LLM::precision() const {
  const Session& session = impl_->executor->session();
  Precision precision;
  precision.weights = weight_formats(*impl_->engine->source.weights);
  precision.cache = session.options().cache_dtype;
  if (session.options().policy.activation == DataType::kBFloat16) {
    const std::vector<std::pair<std::string, int>> kernels = session.kernels();
    if (std::any_of(kernels.begin(), kernels.end(),
                    [](const auto& row) { return row.first.ends_with("_bf16"); }))
      precision.activations = DataType::kBFloat16;
  }
  return tenon::describe(precision);
}

std::string LLM::describe() const {
  const Session& session = impl_->executor->session();
  std::string text = session.describe() + "\n" + precision() + "\n";
  for (const auto& [kernel, nodes] : session.kernels())
    text += fmt::format("  {:<40} {} nodes\n", kernel, nodes);
  return text;
}

std::string LLM::memory_plan() const { return impl_->executor->session().ledger().print(); }

LlmStatistics LLM::statistics() const {
  const ExecutorStatistics stats = impl_->executor->statistics();
  return {stats.context_tokens, stats.generated_tokens, stats.steps, stats.step_seconds,
          impl_->load_seconds};
}

}  // namespace tenon
