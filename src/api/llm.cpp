// SPDX-License-Identifier: Apache-2.0
#include "tenon/llm.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "api/precision.h"
#include "api/serving_model.h"
#include "api/text_sink.h"
#include "core/check.h"
#include "core/deadline.h"
#include "core/dtype.h"
#include "core/half.h"

namespace tenon {
namespace {

using Ids = std::vector<std::int32_t>;

/// How often a call whose prompts wait for room in the queue looks after the text that came.
constexpr double kTurnSeconds = 0.02;

}  // namespace

/// Requests that came from one call, and what they have to say.
struct Call {
  std::shared_ptr<ServingModel> model;
  std::shared_ptr<Deliveries> deliveries = std::make_shared<Deliveries>();
  std::vector<std::shared_ptr<TextSink>> sinks;
  std::vector<RequestId> requests;
  std::set<std::pair<std::size_t, int>> cut;  // samples of which on_text wants no more

  explicit Call(std::shared_ptr<ServingModel> serving) : model(std::move(serving)) {
    model->loop->check_may_wait("a method of LLM");
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  /// Nobody listens any more: what still runs frees its place.
  ~Call() {
    for (const RequestId id : requests) try {
        model->loop->cancel(id);
      } catch (const std::bad_alloc&) {
        // Without memory to say so it runs to its end.
      }
    if (!model->loop->is_own_thread()) deliveries->wait();
  }

  void add(Ids ids, const SamplingParams& sampling, const RequestOptions& options, bool streams,
           const std::function<void(Request&)>& change = {}) {
    Request request = model->request(std::move(ids), sampling);
    request.options = options;
    if (change) change(request);
    SamplingParams told = sampling;
    told.return_generation_logits = request.generation_logits;
    auto sink = std::make_shared<TextSink>(sinks.size(), model->text.tokenizer, told,
                                           model->text.end_ids, streams, deliveries);
    request.sink = sink;
    const int samples = sampling.beam_width > 1 ? sampling.n : request.samples();
    // A request that runs is always known here.
    if (requests.size() == requests.capacity()) requests.reserve(2 * requests.size() + 1);
    if (sinks.size() == sinks.capacity()) sinks.reserve(2 * sinks.size() + 1);
    deliveries->add(samples);
    try {
      requests.push_back(model->loop->enqueue(std::move(request)));
    } catch (...) {
      for (int sample = 0; sample < samples; ++sample) deliveries->finish_one();
      throw;
    }
    sinks.push_back(std::move(sink));
  }

  /// More prompts than the queue holds take turns: while some of the call's own are under way, the
  /// next waits for them. The first does not: a queue that others filled refuses the call.
  void await_turn(std::size_t tokens, const OnText& on_text) {
    while (!deliveries->ended() &&
           !model->loop->await_room(static_cast<std::int64_t>(tokens), kTurnSeconds))
      if (on_text) pump(on_text, deadline_after(0));
    // What ended last is still counted for a moment.
    if (!requests.empty()) model->loop->await_room(static_cast<std::int64_t>(tokens), 1.0);
  }

  /// Hands pieces to the caller as they come; what the caller throws ends the call.
  void pump(const OnText& on_text, const Deliveries::Deadline& deadline = std::nullopt) {
    while (const std::optional<Delivery> piece = deliveries->next(deadline)) {
      const std::pair key(piece->delta.request, piece->delta.sample);
      if (cut.contains(key) || on_text(piece->delta)) continue;
      cut.insert(key);
      sinks[key.first]->cut(*piece);
      model->loop->cancel(requests[key.first], key.second);
    }
  }

  std::vector<RequestOutput> take(const OnText& on_text, const SamplingParams& sampling) {
    if (on_text) pump(on_text);
    deliveries->wait();
    std::vector<RequestOutput> outputs;
    for (const auto& sink : sinks) outputs.push_back(sink->take());
    if (!on_text || TextSink::can_stream(sampling)) return outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      for (const CompletionOutput& one : outputs[i].outputs)
        on_text({i, one.index, one.text, true});
    return outputs;
  }
};

struct LLM::Impl {
  std::shared_ptr<ServingModel> model;

  const Session& session() const { return model->loop->session(); }

  std::vector<RequestOutput> generate(const std::vector<Ids>& prompts,
                                      const SamplingParams& sampling, const RequestOptions& options,
                                      const OnText& on_text) {
    Call call(model);
    for (const Ids& prompt : prompts) {
      call.await_turn(prompt.size(), on_text);
      call.add(prompt, sampling, options, static_cast<bool>(on_text));
    }
    std::vector<RequestOutput> outputs = call.take(on_text, sampling);
    for (std::size_t i = 0; i < prompts.size(); ++i) outputs[i].prompt_token_ids = prompts[i];
    return outputs;
  }

  /// One pass over `ids` that stops at the first sampled token.
  std::shared_ptr<TextSink> one_pass(const Ids& ids, const SamplingParams& wanted,
                                     const std::function<void(Request&)>& change) {
    SamplingParams sampling = wanted;
    sampling.temperature = 0.0F;
    sampling.max_tokens = 1;
    Call call(model);
    call.add(ids, sampling, {}, false, change);
    call.deliveries->wait();
    return call.sinks.front();
  }
};

LLM::LLM(const std::string& path_or_id, const LlmOptions& options)
    : impl_(std::make_unique<Impl>()) {
  impl_->model = ServingModel::load(path_or_id, options);
}
LLM::LLM(const Engine& engine, const LlmOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->model = ServingModel::make(engine.impl(), options);
}
LLM::~LLM() = default;
LLM::LLM(LLM&&) noexcept = default;
LLM& LLM::operator=(LLM&&) noexcept = default;

std::vector<RequestOutput> LLM::generate(const std::vector<std::string>& prompts,
                                         const SamplingParams& sampling, const OnText& on_text) {
  std::vector<Ids> ids;
  for (const std::string& prompt : prompts) ids.push_back(encode(prompt));
  std::vector<RequestOutput> outputs = impl_->generate(ids, sampling, {}, on_text);
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].prompt = prompts[i];
  return outputs;
}

std::vector<RequestOutput> LLM::generate(const std::vector<std::string>& prompts,
                                         const OnText& on_text) {
  return generate(prompts, default_sampling(), on_text);
}

std::vector<RequestOutput> LLM::generate(const std::vector<Prompt>& prompts,
                                         const SamplingParams& sampling,
                                         const RequestOptions& options, const OnText& on_text) {
  std::vector<Ids> ids;
  std::vector<std::string> texts(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i)
    ids.push_back(impl_->model->encode(prompts[i], &texts[i]));
  std::vector<RequestOutput> outputs = impl_->generate(ids, sampling, options, on_text);
  for (std::size_t i = 0; i < outputs.size(); ++i) outputs[i].prompt = std::move(texts[i]);
  return outputs;
}

std::vector<RequestOutput> LLM::generate_ids(const std::vector<std::vector<std::int32_t>>& prompts,
                                             const SamplingParams& sampling,
                                             const OnText& on_text) {
  return impl_->generate(prompts, sampling, {}, on_text);
}

RequestOutput LLM::chat(const std::vector<ChatMessage>& messages, const SamplingParams& sampling,
                        const OnText& on_text) {
  Prompt prompt;
  prompt.messages = messages;
  return std::move(generate(std::vector<Prompt>{prompt}, sampling, {}, on_text).front());
}

struct Generation::Impl {
  Call call;
  std::string prompt;
  Ids prompt_token_ids;
  bool taken = false;  // by wait()
};

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;
Generation::~Generation() = default;

std::optional<TextDelta> Generation::next(std::optional<double> seconds) {
  impl_->call.model->loop->check_may_wait("Generation::next()");
  const Deliveries::Deadline deadline =
      seconds ? Deliveries::Deadline(deadline_after(*seconds)) : std::nullopt;
  std::optional<Delivery> piece = impl_->call.deliveries->next(deadline);
  if (!piece) return std::nullopt;
  return std::move(piece->delta);
}
bool Generation::done() const { return impl_->call.deliveries->ended(); }
void Generation::cancel() {
  for (const RequestId id : impl_->call.requests) impl_->call.model->loop->cancel(id);
}
RequestOutput Generation::wait() {
  impl_->call.model->loop->check_may_wait("Generation::wait()");
  TENON_CHECK(!std::exchange(impl_->taken, true), ErrorCode::kInvalidArgument,
              "Generation::wait(): its output was taken before; keep what the first wait() gave");
  impl_->call.deliveries->wait();
  RequestOutput output = impl_->call.sinks.front()->take();
  output.prompt = impl_->prompt;
  output.prompt_token_ids = impl_->prompt_token_ids;
  return output;
}

Generation LLM::generate_async(const Prompt& prompt, const SamplingParams& sampling,
                               const RequestOptions& options) {
  std::unique_ptr<Generation::Impl> made(new Generation::Impl{Call(impl_->model), {}, {}});
  made->prompt_token_ids = impl_->model->encode(prompt, &made->prompt);
  made->call.add(made->prompt_token_ids, sampling, options, /*streams=*/true);
  return Generation(std::move(made));
}

std::vector<std::vector<float>> LLM::embed(const std::vector<std::string>& texts, bool normalize) {
  Call call(impl_->model);
  SamplingParams sampling;
  sampling.max_tokens = 1;
  for (const std::string& text : texts) {
    Ids ids = encode(text);
    call.await_turn(ids.size(), {});
    call.add(std::move(ids), sampling, {}, false,
             [](Request& request) { request.embedding = true; });
  }
  call.deliveries->wait();
  std::vector<std::vector<float>> rows;
  for (const auto& sink : call.sinks) {
    rows.push_back(sink->take_embedding());
    double sum = 0;
    for (const float value : rows.back()) sum += static_cast<double>(value) * value;
    const auto scale = static_cast<float>(normalize && sum > 0 ? 1.0 / std::sqrt(sum) : 1.0);
    for (float& value : rows.back()) value *= scale;
  }
  return rows;
}

void LLM::cancel_all() { impl_->model->loop->cancel_all(); }

bool LLM::drain(std::optional<double> seconds) { return impl_->model->loop->drain(seconds); }
ExecutorHealth LLM::health() const { return impl_->model->loop->health(); }
std::vector<IterationStatistics> LLM::take_iteration_statistics() {
  return impl_->model->loop->take_iteration_statistics();
}

TokenLogits LLM::logits(const std::vector<std::int32_t>& ids) {
  SamplingParams sampling;
  sampling.return_context_logits = true;
  return std::move(impl_->one_pass(ids, sampling, {})->take().context_logits);
}

std::vector<float> LLM::tap(const std::vector<std::int32_t>& ids, const std::string& name,
                            std::vector<std::int64_t>& shape) {
  const std::int64_t limit = impl_->session().options().max_step_tokens;
  TENON_CHECK(static_cast<std::int64_t>(ids.size()) <= limit, ErrorCode::kInvalidArgument,
              "tap: {} tokens; a tap shows one step, which holds at most {} (max_num_tokens)",
              ids.size(), limit);
  const auto sink = impl_->one_pass(ids, {}, [&](Request& request) { request.taps = {name}; });
  const Tensor& value = sink->output();
  shape.assign(value.shape().begin(), value.shape().end());
  std::vector<float> values(static_cast<std::size_t>(value.view().elements()));
  convert_to_float(value.dtype(), value.data(), values.data(), values.size());
  return values;
}

std::vector<std::int32_t> LLM::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->model->tokenizer().encode(text, add_special_tokens);
}

std::string LLM::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  return impl_->model->tokenizer().decode(ids, skip_special_tokens);
}

std::string LLM::apply_chat_template(const std::vector<ChatMessage>& messages,
                                     bool add_generation_prompt) const {
  return impl_->model->apply_chat_template(messages, add_generation_prompt);
}

bool LLM::has_chat_template() const { return impl_->model->text.chat_template != nullptr; }
const SamplingParams& LLM::default_sampling() const { return impl_->model->text.sampling; }
const PretrainedConfig& LLM::config() const { return impl_->model->engine->source.config; }
const BuildConfig& LLM::build_config() const { return impl_->model->engine->build; }
std::int64_t LLM::max_seq_len() const { return impl_->model->max_seq_len(); }

/// A coarser type counts as the activations' precision where some kernel does read them so.
std::string LLM::precision() const {
  const Session& session = impl_->session();
  Precision precision;
  precision.weights = weight_formats(impl_->model->engine->source.weights->weights());
  precision.cache = session.options().cache_dtype;
  const std::vector<std::pair<std::string, int>> kernels = session.kernels();
  const auto some_end_with = [&](std::string_view suffix) {
    return std::any_of(kernels.begin(), kernels.end(),
                       [&](const auto& row) { return row.first.ends_with(suffix); });
  };
  const DataType allowed = session.options().policy.activation;
  if (allowed == DataType::kFloat8E4M3 && some_end_with("_fp8"))
    precision.activations = DataType::kFloat8E4M3;
  else if (allowed != DataType::kFloat32 && some_end_with("_bf16"))
    precision.activations = DataType::kBFloat16;
  return tenon::describe(precision);
}

std::string LLM::describe() const {
  const Session& session = impl_->session();
  std::string text = session.describe() + "\n" + precision() + "\n";
  for (const auto& [kernel, nodes] : session.kernels())
    text += fmt::format("  {:<40} {} nodes\n", kernel, nodes);
  return text;
}

std::string LLM::memory_plan() const { return impl_->session().ledger().print(); }

LlmStatistics LLM::statistics() const {
  LlmStatistics statistics;
  static_cast<ExecutorStatistics&>(statistics) = impl_->model->loop->statistics();
  statistics.load_seconds = impl_->model->load_seconds;
  return statistics;
}

}  // namespace tenon
