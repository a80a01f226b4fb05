// SPDX-License-Identifier: Apache-2.0
#include "api/serving_model.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "api/load_engine.h"
#include "api/memory_forecast.h"
#include "api/session_options.h"
#include "api/worker_session.h"
#include "core/check.h"
#include "core/process_memory.h"

namespace tenon {
namespace {

RequestLoopOptions loop_options(const LlmOptions& options, const BuildConfig& build) {
  const ExecutorConfig& config = options.executor;
  RequestLoopOptions loop;
  loop.steps.policy = config.scheduler_policy;
  loop.steps.chunking = config.context_chunking;
  loop.steps.context_chunk = config.max_context_chunk;
  loop.steps.reuse = config.kv_cache.enable_block_reuse;
  loop.steps.partial_reuse = config.kv_cache.enable_partial_reuse;
  loop.steps.cache_events = config.kv_cache.event_buffer_size;
  loop.max_queue = config.max_queue_size;
  loop.max_queue_tokens = config.max_queue_tokens;
  loop.queue_seconds = config.queue_seconds;
  loop.total_seconds = config.total_seconds;
  loop.iteration_statistics = config.iter_stats_max_iterations;
  loop.max_beam_width = config.max_beam_width > 0  ? config.max_beam_width
                        : build.max_beam_width > 1 ? build.max_beam_width
                                                   : 0;
  return loop;
}

std::string worker_path(const Engine::Impl& engine, const std::string& path) {
  if (!path.empty()) return path;
  TENON_CHECK(is_directory_of(engine.source.name, DirectoryKind::kEngine),
              ErrorCode::kInvalidArgument,
              "worker_process: the engine of {} was built in memory, where a worker process cannot "
              "find it; save() it and open the directory",
              engine.source.name);
  return engine.source.name;
}

}  // namespace

// A model that was not written to a directory keeps its text in the GGUF file's metadata.
TextAssets load_text(const Engine::Impl& engine, const LlmOptions& options) {
  if (engine.source.gguf == nullptr)
    return load_text_assets(engine.source.text_directory, engine.source.config,
                            options.chat_template);
  const StagedTextDirectory staged(engine.source);
  return load_text_assets(staged.path(), engine.source.config, options.chat_template);
}

ServingModel::ServingModel(std::shared_ptr<Engine::Impl> opened, const LlmOptions& options,
                           const std::string& path)
    : engine(std::move(opened)) {
  const auto begin = std::chrono::steady_clock::now();
  text = load_text(*engine, options);
  give_back_free_memory();  // or the plan takes for held what reading the text needed for a moment
  std::unique_ptr<Session> session =
      options.executor.worker_process
          ? load_in_worker(worker_path(*engine, path), engine->source, options)
          : load_session(*engine, session_options(options, engine->build, engine->graphs.traits));
  loop = std::make_unique<RequestLoop>(std::move(session), loop_options(options, engine->build));
  load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::shared_ptr<ServingModel> ServingModel::make(std::shared_ptr<Engine::Impl> opened,
                                                 const LlmOptions& options,
                                                 const std::string& path) {
  return {new ServingModel(std::move(opened), options, path), [](ServingModel* model) {
            if (model->loop->is_own_thread())
              std::thread([model] { delete model; }).detach();
            else
              delete model;
          }};
}

std::shared_ptr<ServingModel> ServingModel::load(const std::string& path_or_id,
                                                 const LlmOptions& options) {
  std::shared_ptr<ServingModel> model;
  load_engine(path_or_id, options.use_cache_folder, [&](std::shared_ptr<Engine::Impl> engine) {
    model = make(std::move(engine), options, path_or_id);
  });
  return model;
}

const Tokenizer& ServingModel::tokenizer() const {
  TENON_CHECK(text.tokenizer != nullptr, ErrorCode::kNotFound,
              "{}: the engine has no tokenizer; give token ids, or put a tokenizer.json into the "
              "model's directory and build again",
              engine->source.name);
  return *text.tokenizer;
}

std::string ServingModel::apply_chat_template(const std::vector<ChatMessage>& messages,
                                              bool add_generation_prompt) const {
  TENON_CHECK(text.chat_template != nullptr, ErrorCode::kNotFound,
              "{}: the model has no chat template; give one with --chat_template, or complete text "
              "without --chat",
              engine->source.name);
  ChatTemplateInput input;
  input.messages = to_json(messages);
  input.add_generation_prompt = add_generation_prompt;
  const Tokenizer& tokens = tokenizer();
  if (tokens.bos_id()) input.bos_token = tokens.token_text(*tokens.bos_id());
  if (tokens.eos_id()) input.eos_token = tokens.token_text(*tokens.eos_id());
  return text.chat_template->render(input);
}

std::vector<std::int32_t> ServingModel::encode(const Prompt& prompt, std::string* as_text) const {
  const int forms = !prompt.text.empty() + !prompt.token_ids.empty() + !prompt.messages.empty();
  TENON_CHECK(forms <= 1, ErrorCode::kInvalidArgument,
              "prompt: text, token_ids and messages exclude each other; {} of them are given",
              forms);
  if (!prompt.token_ids.empty()) return prompt.token_ids;
  std::string written = prompt.text;
  if (!prompt.messages.empty()) written = apply_chat_template(prompt.messages, true);
  // A template writes the special tokens itself.
  std::vector<std::int32_t> ids = tokenizer().encode(written, prompt.messages.empty());
  if (as_text != nullptr) *as_text = std::move(written);
  return ids;
}

Request ServingModel::request(std::vector<std::int32_t> ids, const SamplingParams& sampling) const {
  try {
    validate(sampling);
  } catch (const Error&) {
    loop->count_refused();
    throw;
  }
  Request request;
  request.input_ids = std::move(ids);
  request.sampling = sampling;
  request.end_ids = text.end_ids;
  request.context_logits = sampling.return_context_logits;
  request.generation_logits =
      sampling.return_generation_logits || engine->build.gather_generation_logits;
  for (const std::string& bad : sampling.bad)
    for (const std::string& form : {bad, " " + bad}) {
      std::vector<std::int32_t> run = tokenizer().encode(form, /*add_special_tokens=*/false);
      if (!run.empty()) request.sampling.bad_words.push_back(std::move(run));
    }
  return request;
}

std::int64_t ServingModel::max_seq_len() const {
  const Session& session = loop->session();
  std::int64_t longest = session.options().max_sequence_length;
  for (const Session::CacheGroup& group : session.cache_groups())
    if (group.window == 0)
      longest = std::min(longest, group.blocks * session.options().tokens_per_block);
  return longest;
}

}  // namespace tenon
