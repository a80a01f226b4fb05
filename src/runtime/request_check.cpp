// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_check.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace tenon {
namespace {

void check_ids(const char* field, const std::vector<std::int32_t>& ids, std::int64_t vocab) {
  for (const std::int32_t id : ids)
    TENON_CHECK(id >= 0 && id < vocab, ErrorCode::kInvalidArgument,
                "{}: token id {} is outside the vocabulary of {}", field, id, vocab);
}

void check_range(const char* field, double value, double low, double high) {
  TENON_CHECK(std::isfinite(value) && value >= low && value <= high, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected {} to {}", field, value, low, high);
}

}  // namespace

void validate(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0, 1e4);
  check_range("top_k", params.top_k, -1, 1e9);
  check_range("top_p", params.top_p, 0, 1);
  check_range("min_p", params.min_p, 0, 1);
  check_range("repetition_penalty", params.repetition_penalty, 1e-3, 1e3);
  check_range("presence_penalty", params.presence_penalty, -1e3, 1e3);
  check_range("frequency_penalty", params.frequency_penalty, -1e3, 1e3);
  check_range("min_tokens", params.min_tokens, 0, 1e9);
  check_range("n", params.n, 1, 256);
  if (params.max_tokens) check_range("max_tokens", *params.max_tokens, 1, 1e9);
  if (params.logprobs) check_range("logprobs", *params.logprobs, 0, 100);
  TENON_CHECK(!params.max_tokens || params.min_tokens <= *params.max_tokens,
              ErrorCode::kInvalidArgument, "min_tokens: {} is more than max_tokens {}",
              params.min_tokens, *params.max_tokens);
  for (const std::string& stop : params.stop)
    TENON_CHECK(!stop.empty() && stop.size() <= 4096, ErrorCode::kInvalidArgument,
                "stop: a stop text must have 1 to 4096 bytes, got {}", stop.size());
  TENON_CHECK(params.stop.size() <= 64, ErrorCode::kInvalidArgument,
              "stop: {} stop texts, at most 64", params.stop.size());
}

const char* to_string(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::kNotFinished: return "not_finished";
    case FinishReason::kEndId: return "end_id";
    case FinishReason::kStopWords: return "stop_words";
    case FinishReason::kLength: return "length";
    case FinishReason::kTimedOut: return "timed_out";
    case FinishReason::kCancelled: return "cancelled";
    case FinishReason::kError: return "error";
  }
  return "?";
}

std::int64_t check_request(const Request& request, const Session& session, std::int64_t longest) {
  validate(request.sampling);
  const std::int64_t vocab = session.traits().vocab_size;
  const auto length = static_cast<std::int64_t>(request.input_ids.size());
  TENON_CHECK(length > 0, ErrorCode::kInvalidArgument, "input_ids: the prompt has no tokens");
  check_ids("input_ids", request.input_ids, vocab);
  check_ids("end_ids", request.end_ids, vocab);
  check_ids("stop_token_ids", request.sampling.stop_token_ids, vocab);
  TENON_CHECK(length < longest, ErrorCode::kInvalidArgument,
              "input_ids: the prompt has {} tokens; with at least one to generate, the limit is {} "
              "(max_seq_len {}, and the cache's size)",
              length, longest - 1, session.options().max_sequence_length);
  const std::int64_t longest_prompt = session.options().max_input_length;
  TENON_CHECK(longest_prompt == 0 || length <= longest_prompt, ErrorCode::kInvalidArgument,
              "input_ids: the prompt has {} tokens, the engine was built with max_input_len {}",
              length, longest_prompt);
  TENON_CHECK(session.traits().chunkable || length <= session.options().max_step_tokens,
              ErrorCode::kInvalidArgument,
              "input_ids: {} tokens; this model takes a prompt in one step of at most {} "
              "(max_num_tokens)",
              length, session.options().max_step_tokens);
  TENON_CHECK(!request.context_logits || session.options().all_logits, ErrorCode::kInvalidArgument,
              "context_logits: the session keeps logits of last tokens alone; load it with "
              "gather_context_logits");
  TENON_CHECK(request.sink != nullptr, ErrorCode::kInvalidArgument, "a request needs a sink");
  const std::int64_t room = longest - length;
  if (!request.sampling.max_tokens) return room;
  TENON_CHECK(*request.sampling.max_tokens <= room, ErrorCode::kInvalidArgument,
              "max_tokens: {} after a prompt of {} passes the limit of {} tokens a sequence; ask "
              "for at most {}, or load the session with a larger max_seq_len",
              *request.sampling.max_tokens, length, longest, room);
  return *request.sampling.max_tokens;
}

}  // namespace tenon
