// SPDX-License-Identifier: Apache-2.0
#include "tenon/executor.h"

#include <mutex>
#include <thread>

#include "api/response_queue.h"
#include "api/serving_model.h"
#include "api/text_sink.h"
#include "core/check.h"
#include "runtime/current_error.h"

namespace tenon {
namespace {

/// Gathers with a TextSink (stops over text, best_of, beams), posts responses of ids.
class ResponseSink : public RequestSink {
 public:
  ResponseSink(std::shared_ptr<TextSink> inner, int drawn, bool streaming, ResponseQueue& queue)
      : inner_(std::move(inner)),
        queue_(queue),
        open_(drawn),
        streaming_(streaming),
        sent_(static_cast<std::size_t>(drawn), 0) {}

  /// Read under the queue's lock alone, which enqueue() holds until it is set.
  RequestId id = 0;

  Verdict on_tokens(int sample, const SequenceResult& result) override {
    const Verdict verdict = inner_->on_tokens(sample, result);
    if (streaming_) send_new(sample);
    return verdict;
  }
  void on_prompt_logprobs(std::int64_t position, const SequenceResult& result) override {
    inner_->on_prompt_logprobs(position, result);
  }
  void on_logits(int sample, std::int64_t position, std::span<const float> rows,
                 std::int64_t vocab) override {
    inner_->on_logits(sample, position, rows, vocab);
  }
  void on_embedding(std::span<const float> values) override {
    embedding_.assign(values.begin(), values.end());
  }
  void on_beam(int beam, const SequenceResult& result, float score) override {
    inner_->on_beam(beam, result, score);
  }
  void on_timing(const RequestTiming& timing) override {
    timing_ = timing;
    inner_->on_timing(timing);
  }
  void on_finish(int sample, FinishReason reason, const Error* error) override {
    inner_->on_finish(sample, reason, error);
    if (error != nullptr) error_ = *error;
    if (--open_ > 0) return;
    try {
      send_last();
    } catch (...) {
      // Whoever waits must hear of the end.
      queue_.fail(id, current_error());
    }
  }

 private:
  void send_new(int sample) {
    const CompletionOutput& output = inner_->sample(sample);
    const std::size_t ready = inner_->settled_tokens(sample);
    std::size_t& sent = sent_[static_cast<std::size_t>(sample)];
    if (ready <= sent) return;
    Response response = part(output, sent, ready);
    response.sample = sample;
    sent = ready;
    queue_.post(id, std::move(response));
  }

  Response part(const CompletionOutput& output, std::size_t begin, std::size_t end) const {
    Response response;
    const auto at = [](std::size_t i) { return static_cast<std::ptrdiff_t>(i); };
    response.token_ids.assign(output.token_ids.begin() + at(begin),
                              output.token_ids.begin() + at(end));
    if (output.logprobs.size() >= end)
      response.logprobs.assign(output.logprobs.begin() + at(begin),
                               output.logprobs.begin() + at(end));
    response.cumulative_logprob = output.cumulative_logprob;
    response.score = output.score;
    return response;
  }

  void send_last() {
    if (error_) {
      Response response;
      response.finish_reason = FinishReason::kError;
      response.error = error_;
      response.is_final = true;
      response.timing = timing_;
      return queue_.post(id, std::move(response));
    }
    RequestOutput all = inner_->take();
    for (std::size_t i = 0; i < all.outputs.size(); ++i) {
      CompletionOutput& output = all.outputs[i];
      const std::size_t begin = streaming_ ? sent_[i] : 0;
      Response response =
          part(output, std::min(begin, output.token_ids.size()), output.token_ids.size());
      response.sample = output.index;
      response.finish_reason = output.finish_reason;
      response.generation_logits = std::move(output.generation_logits);
      if (i == 0) {
        response.prompt_logprobs = std::move(all.prompt_logprobs);
        response.context_logits = std::move(all.context_logits);
        response.embedding = std::move(embedding_);
      }
      response.is_final = i + 1 == all.outputs.size();
      if (response.is_final) response.timing = timing_;
      queue_.post(id, std::move(response));
    }
  }

  std::shared_ptr<TextSink> inner_;
  ResponseQueue& queue_;
  int open_;
  bool streaming_;
  std::vector<std::size_t> sent_;  // tokens of each sample that went out
  std::vector<float> embedding_;
  RequestTiming timing_;
  std::optional<Error> error_;
};

}  // namespace

struct Executor::Impl {
  std::shared_ptr<ServingModel> model;
  ResponseQueue responses;

  explicit Impl(std::shared_ptr<ServingModel> serving)
      : model(std::move(serving)), responses([this](RequestId id) { model->loop->cancel(id); }) {}
  ~Impl() {
    model->loop->stop();  // no sink is called after this
    responses.stop();
  }

  /// Under the queue's lock.
  RequestId enqueue(GenerationRequest wanted, ResponseCallback callback) {
    const SamplingParams sampling = wanted.sampling;
    Request request = model->request(std::move(wanted.input_token_ids), sampling);
    if (wanted.end_ids) request.end_ids = *wanted.end_ids;
    request.options = std::move(wanted.options);
    request.embedding = wanted.embedding;
    SamplingParams told = sampling;
    told.return_generation_logits = request.generation_logits;
    // Text matters only where a stop may be found in it.
    const auto tokenizer = sampling.stop.empty() ? nullptr : model->text.tokenizer;
    if (!sampling.stop.empty()) model->tokenizer();
    const int drawn = sampling.beam_width > 1 ? sampling.n : request.samples();
    auto deliveries = std::make_shared<Deliveries>();
    deliveries->add(drawn);
    auto sink = std::make_shared<ResponseSink>(
        std::make_shared<TextSink>(0, tokenizer, told, request.end_ids, false, deliveries), drawn,
        wanted.streaming && TextSink::can_stream(sampling), responses);
    request.sink = sink;
    const auto place = ResponseQueue::make_place(std::move(callback));
    // The loop's thread posts only after the lock is free: by then the id is known.
    const RequestId id = model->loop->enqueue(std::move(request));
    sink->id = id;
    responses.open(id, *place);
    return id;
  }
};

Executor::Executor(const std::string& path_or_id, const LlmOptions& options)
    : impl_(std::make_unique<Impl>(ServingModel::load(path_or_id, options))) {}
Executor::Executor(const Engine& engine, const LlmOptions& options)
    : impl_(std::make_unique<Impl>(ServingModel::make(engine.impl(), options))) {}

// Where a hook held the last reference, the loop cannot wait for itself.
Executor::~Executor() {
  if (impl_ != nullptr && impl_->model->loop->is_own_thread())
    std::thread([impl = std::move(impl_)]() mutable { impl.reset(); }).detach();
}

RequestId Executor::enqueue_request(GenerationRequest request, ResponseCallback callback) {
  const auto lock = impl_->responses.pause();
  return impl_->enqueue(std::move(request), std::move(callback));
}

std::vector<RequestId> Executor::enqueue_requests(std::vector<GenerationRequest> requests) {
  const auto lock = impl_->responses.pause();
  std::vector<RequestId> ids;
  ids.reserve(requests.size());
  try {
    for (GenerationRequest& request : requests)
      ids.push_back(impl_->enqueue(std::move(request), {}));
  } catch (...) {
    for (const RequestId id : ids) {
      impl_->responses.close(id);
      impl_->model->loop->cancel(id);
    }
    throw;
  }
  return ids;
}

std::vector<Response> Executor::await_responses(std::optional<RequestId> id,
                                                std::optional<std::chrono::milliseconds> timeout) {
  impl_->model->loop->check_may_wait("await_responses()");
  return impl_->responses.await(id, timeout);
}
std::size_t Executor::responses_ready(std::optional<RequestId> id) const {
  return impl_->responses.ready(id);
}
void Executor::cancel_request(RequestId id) { impl_->model->loop->cancel(id); }

bool Executor::drain(std::optional<std::chrono::milliseconds> timeout) {
  if (!timeout) return impl_->model->loop->drain();
  return impl_->model->loop->drain(std::chrono::duration<double>(*timeout).count());
}
void Executor::shutdown() {
  impl_->model->loop->stop();
  impl_->responses.stop();
}

ExecutorHealth Executor::health() const { return impl_->model->loop->health(); }
ExecutorStatistics Executor::statistics() const { return impl_->model->loop->statistics(); }
std::vector<IterationStatistics> Executor::take_iteration_statistics() {
  return impl_->model->loop->take_iteration_statistics();
}
std::vector<KvCacheEvent> Executor::take_cache_events() {
  return impl_->model->loop->take_cache_events();
}
std::int64_t Executor::max_seq_len() const { return impl_->model->max_seq_len(); }
std::string Executor::memory_plan() const { return impl_->model->loop->session().ledger().print(); }

}  // namespace tenon
