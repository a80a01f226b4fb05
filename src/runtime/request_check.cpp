// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_check.h"

#include "core/check.h"
#include "runtime/sampling_check.h"

namespace tenon {
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
  check_token_ids("input_ids", request.input_ids, vocab);
  check_token_ids("end_ids", request.end_ids, vocab);
  check_vocabulary(request.sampling, vocab);
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
