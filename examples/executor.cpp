// Token ids in, responses out: a request that streams, one that is cancelled, one whose logits a
// function of ours changes. For programs that do their own text; LLM is the same with text.
// SPDX-License-Identifier: Apache-2.0
#include <tenon/tenon.h>
#include <algorithm>
#include <cstdint>
#include <future>
#include <iostream>
#include <limits>

namespace {

void print(const char* title, const std::vector<std::int32_t>& ids) {
  std::cout << title << ':';
  for (const std::int32_t id : ids) std::cout << ' ' << id;
  std::cout << '\n';
}

tenon::GenerationRequest request_of(std::int32_t tokens) {
  tenon::GenerationRequest request;
  request.input_token_ids = {1, 5, 7};
  request.sampling.temperature = 0;
  request.sampling.max_tokens = tokens;
  request.sampling.ignore_eos = true;
  return request;
}

}  // namespace

int main(int argc, char** argv) {
  tenon::LlmOptions options;
  options.max_batch_size = 8;
  options.executor.scheduler_policy = tenon::SchedulerPolicy::kMaxUtilization;
  tenon::Executor executor(argc > 1 ? argv[1] : "SmolLM2-135M-Instruct", options);

  // Streams: a response for every step, taken here until the last.
  tenon::GenerationRequest streamed = request_of(8);
  streamed.streaming = true;
  const tenon::RequestId id = executor.enqueue_request(streamed);
  std::vector<std::int32_t> ids;
  for (bool done = false; !done;)
    for (const tenon::Response& response : executor.await_responses(id)) {
      if (response.error) throw *response.error;
      ids.insert(ids.end(), response.token_ids.begin(), response.token_ids.end());
      done = response.is_final;
    }
  print("streamed", ids);

  // Sees the logits before each token is chosen: odd ids alone are left.
  tenon::GenerationRequest odd = request_of(8);
  odd.options.logits_processor = [](const tenon::LogitsView& view) {
    for (std::size_t i = 0; i < view.logits.size(); i += 2)
      view.logits[i] = -std::numeric_limits<float>::infinity();
  };
  const std::vector<tenon::Response> answer =
      executor.await_responses(executor.enqueue_request(odd));
  print("odd", answer.back().token_ids);
  const bool all_odd = std::all_of(answer.back().token_ids.begin(), answer.back().token_ids.end(),
                                   [](std::int32_t token) { return token % 2 == 1; });

  // A callback instead of waiting; it cancels its own request after the first token.
  std::promise<tenon::FinishReason> ended;
  tenon::GenerationRequest long_one = request_of(64);
  long_one.streaming = true;
  executor.enqueue_request(long_one, [&](const tenon::Response& response) {
    if (response.is_final)
      ended.set_value(response.finish_reason);
    else
      executor.cancel_request(response.request_id);
  });
  const tenon::FinishReason reason = ended.get_future().get();
  std::cout << "cancelled: " << tenon::to_string(reason) << '\n';

  executor.drain();
  std::cout << tenon::to_json(executor.statistics()) << '\n';
  return ids.size() == 8 && all_odd ? 0 : 1;
}
