// What a request may ask for besides its sampling, and the hooks that see its logits.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tenon/export.h"
#include "tenon/kv_cache.h"

namespace tenon {

using RequestId = std::uint64_t;  ///< counts up from 1

/// How a request went, in seconds from its arrival.
struct TENON_API RequestTiming {
  double queued_seconds = 0;       ///< until its first token ran
  double first_token_seconds = 0;  ///< until its first token came out; 0: none did
  double total_seconds = 0;        ///< until its last token came out
  std::int64_t reused_tokens = 0;  ///< of the prompt, found in the cache
  std::int32_t preemptions = 0;    ///< how often it was paused
};

/// Restricts what may be drawn next: a grammar's state for one sequence. Called from the executor's
/// thread, in the order of the output; after a preemption it goes on where it stood.
class TENON_API TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// A state of its own for another sample of the same request, at the output's beginning. A beam
  /// that goes on from another one takes a fresh state too, which accepts that one's tokens anew.
  virtual std::unique_ptr<TokenConstraint> fresh() const = 0;
  /// Bit t of `allowed` ([(vocab + 31) / 32], all 0 before) for each token that may come next.
  virtual void allowed(std::span<std::uint32_t> allowed) = 0;
  virtual void accept(std::int32_t token) = 0;  ///< the token that was drawn
};

/// What a logits processor sees and may change.
struct TENON_API LogitsView {
  RequestId request = 0;                 ///< whose logits they are
  int sample = 0;                        ///< which of its samples
  std::span<const std::int32_t> tokens;  ///< prompt and output so far
  std::int64_t prompt_length = 0;        ///< how many of `tokens` are the prompt
  std::span<float> logits;               ///< [vocab], before penalties and temperature
};
/// Called from the executor's thread once a token. What it throws ends its request alone. It may
/// enqueue and cancel; what would wait for the executor (drain, shutdown, await_responses, a method
/// of LLM) throws there. It may hold the last reference to its executor.
using LogitsProcessor = std::function<void(const LogitsView&)>;

struct TENON_API RequestOptions {
  /// Who may share cached prefixes with it: equal salts alone.
  std::string cache_salt{};
  KvRetention retention{};                ///< of the prompt's and output's cache blocks
  double priority = 0.5;                  ///< in [0, 1]: 1 goes first
  std::optional<double> queue_seconds{};  ///< ends with kTimedOut where it has not begun by then
  std::optional<double> total_seconds{};  ///< ends with kTimedOut, with what it has by then
  std::shared_ptr<const TokenConstraint> constraint{};  ///< fresh() for each sample
  LogitsProcessor logits_processor{};                   ///< called for each token of each sample
};

}  // namespace tenon
