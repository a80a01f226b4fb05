// SPDX-License-Identifier: Apache-2.0
#include "runtime/request_check.h"

#include <cmath>

#include "core/check.h"
#include "runtime/sampling_check.h"

namespace tenon {
namespace {

constexpr std::size_t kMaxSalt = 1024;
constexpr std::size_t kMaxRetentionRanges = 256;

void check_seconds(const char* field, const std::optional<double>& seconds) {
  TENON_CHECK(!seconds || (std::isfinite(*seconds) && *seconds > 0), ErrorCode::kInvalidArgument,
              "{}: {} is no time limit, expected seconds above 0", field, seconds.value_or(0));
}

void check_priority(const char* field, std::int32_t priority) {
  TENON_CHECK(priority >= 0 && priority <= 100, ErrorCode::kInvalidArgument,
              "{}: {} is out of range, expected 0 to 100", field, priority);
}

void check_options(const RequestOptions& options) {
  TENON_CHECK(std::isfinite(options.priority) && options.priority >= 0 && options.priority <= 1,
              ErrorCode::kInvalidArgument, "priority: {} is out of range, expected 0 to 1",
              options.priority);
  check_seconds("queue_seconds", options.queue_seconds);
  check_seconds("total_seconds", options.total_seconds);
  TENON_CHECK(options.cache_salt.size() <= kMaxSalt, ErrorCode::kInvalidArgument,
              "cache_salt: {} bytes, at most {}", options.cache_salt.size(), kMaxSalt);
  const KvRetention& retention = options.retention;
  TENON_CHECK(retention.ranges.size() <= kMaxRetentionRanges, ErrorCode::kInvalidArgument,
              "retention: {} ranges, at most {}", retention.ranges.size(), kMaxRetentionRanges);
  for (const KvRetentionRange& range : retention.ranges) {
    TENON_CHECK(range.begin >= 0 && (!range.end || *range.end > range.begin),
                ErrorCode::kInvalidArgument,
                "retention: tokens {} to {} are no range, expected 0 <= begin < end", range.begin,
                range.end ? std::to_string(*range.end) : "the end");
    check_priority("retention.priority", range.priority);
    check_seconds("retention.duration_seconds", range.duration_seconds);
  }
  check_priority("retention.decode_priority", retention.decode_priority);
  check_seconds("retention.decode_duration_seconds", retention.decode_duration_seconds);
}

void check_beams(const Request& request, const Session& session) {
  const std::int32_t width = request.sampling.beam_width;
  if (width <= 1) return;
  TENON_CHECK(width <= session.options().max_sequences, ErrorCode::kInvalidArgument,
              "beam_width: {} beams need as many places in a batch, and the session has {} "
              "(max_batch_size); use fewer beams or load it with a larger max_batch_size",
              width, session.options().max_sequences);
}

}  // namespace

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
  TENON_CHECK(length > 0, ErrorCode::kInvalidArgument,
              "input_ids: the prompt has no tokens; expected at least one");
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
  check_options(request.options);
  check_beams(request, session);
  TENON_CHECK(request.sink != nullptr, ErrorCode::kInvalidArgument, "a request needs a sink");
  if (request.embedding) return 1;  // draws nothing: no more room is kept for it
  const std::int64_t room = longest - length;
  if (!request.sampling.max_tokens) return room;
  TENON_CHECK(*request.sampling.max_tokens <= room, ErrorCode::kInvalidArgument,
              "max_tokens: {} after a prompt of {} passes the limit of {} tokens a sequence; ask "
              "for at most {}, or load the session with a larger {}",
              *request.sampling.max_tokens, length, longest, room,
              longest < session.options().max_sequence_length ? "cache" : "max_seq_len");
  return *request.sampling.max_tokens;
}

}  // namespace tenon
