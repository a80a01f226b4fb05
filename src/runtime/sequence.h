// Sequence: one sample (or beam) of a request on its way through the cache; ActiveRequest: a
// request with its sequences. Owned by the request loop's thread; the scheduler moves them between
// states.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "runtime/beam_search.h"
#include "runtime/kv_cache.h"
#include "runtime/request.h"

namespace tenon {

struct ActiveRequest;
struct Sequence;

/// Of two that wait: who goes first.
struct QueueOrder {
  bool operator()(const Sequence* a, const Sequence* b) const;
};
using WaitingQueue = std::set<Sequence*, QueueOrder>;

/// The tokens that end an output where these are all there is to look for, as mostly.
struct FewEnds {
  bool all = false;  ///< false: the request has more to look for
  std::int32_t min_tokens = 0;
  std::array<std::int32_t, 2> ids = {-1, -1};
};

struct alignas(64) Sequence {
  enum class State : std::uint8_t {
    kHeld,     ///< waits for its request's first sample to compute the prompt
    kWaiting,  ///< in the scheduler's queue
    kRunning,  ///< has a slot and a hold on the cache
    kEnded,
  };

  // Every step looks at these of every running sequence: two cache lines.
  ActiveRequest* request = nullptr;
  std::vector<std::int32_t> tokens;  ///< prompt and output, as far as the host knows them
  std::int64_t prompt_length = 0;
  std::int64_t computed = 0;  ///< tokens whose keys and values issued steps put into the cache
  std::int64_t max_new_tokens = 0;
  int unknown_tokens = 0;  ///< its newest tokens, which steps in flight draw
  std::int32_t slot = -1;

  RequestSink* sink = nullptr;  ///< the request's
  std::int64_t committed_blocks = 0;
  FewEnds ends;
  KvCache::Handle cache = -1;
  std::int32_t in_flight = 0;  ///< issued steps with a row of it that have not landed
  State state = State::kWaiting;
  bool simple = false;     ///< tokens are all it asks for: no beams, hooks, logits, taps, embedding
  bool announced = false;  ///< its slot update went out
  bool alone = false;      ///< a step with it failed: the next runs it alone
  bool began = false;      ///< some of it ran
  int sample = 0;          ///< in [0, samples)
  // What a beam takes over before its next step.
  std::int32_t parent_slot = -1;
  std::int32_t chosen_token = -1;

  int beam = 0;                       ///< rank among the open beams
  std::int64_t longest = 0;           ///< tokens, prompt and output, it may come to
  std::int64_t delivered_rows = 0;    ///< prompt positions whose logits were handed out
  const Sequence* fork_of = nullptr;  ///< the sample whose prompt it may share
  /// Its entry of the scheduler's queue while it is not there: waiting again allocates nothing.
  WaitingQueue::node_type queue_entry;
  std::unique_ptr<TokenConstraint> constraint;

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()) + unknown_tokens; }
  std::int64_t pending() const { return length() - computed; }
  /// Its rows of logits are handed out: the first sample's, for all.
  bool hands_out_context_rows() const;
  std::int64_t generated() const { return length() - prompt_length; }
  bool in_context() const { return computed < prompt_length; }
  bool is_alive() const { return state != State::kEnded; }
};

/// Asks the memory for what every step looks at.
inline void prefetch(const Sequence& sequence) noexcept {
  __builtin_prefetch(&sequence);
  __builtin_prefetch(&sequence.sink);
}

struct ActiveRequest {
  RequestId id = 0;
  std::shared_ptr<const Request> spec;
  std::uint64_t seed = 0;
  double arrival = 0;    ///< seconds of the loop's clock
  double queue_key = 0;  ///< smaller goes first: arrival, less what its priority is worth
  std::vector<std::unique_ptr<Sequence>> sequences;
  /// While a failed step is dealt with.
  enum class Part : std::uint8_t { kNone, kSuspect, kBystander };
  Part part = Part::kNone;
  int lost_workers = 0;  ///< worker processes that went away in a step of it
  int open_samples = 0;  ///< that on_finish was not called for
  std::unique_ptr<BeamSearch> beams;
  std::vector<std::vector<TokenLogprob>> candidates;  ///< of each open beam, as they land
  std::vector<std::vector<float>> candidate_logits;   ///< likewise, where logits are wanted
  int candidates_due = 0;
  RequestTiming timing;
  double first_run = -1;

  bool is_beam_search() const { return spec->sampling.beam_width > 1; }
  bool wants_context_rows() const {
    return spec->context_logits || spec->sampling.prompt_logprobs.has_value();
  }
  bool wants_late_inputs() const {
    return spec->options.constraint != nullptr || spec->options.logits_processor != nullptr;
  }
  bool wants_outputs() const {
    return wants_context_rows() || spec->generation_logits || spec->embedding ||
           !spec->taps.empty();
  }
  /// Slots that must be free before it starts.
  std::int64_t slots_at_start() const { return is_beam_search() ? spec->sampling.beam_width : 1; }
};

inline bool Sequence::hands_out_context_rows() const {
  return !simple && sample == 0 && in_context() && request->wants_context_rows();
}

}  // namespace tenon
