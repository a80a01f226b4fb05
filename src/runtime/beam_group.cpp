// SPDX-License-Identifier: Apache-2.0
#include "runtime/beam_group.h"

#include <algorithm>

#include "core/check.h"

namespace tenon {

std::vector<Sequence*> open_beams(ActiveRequest& request) {
  std::vector<Sequence*> open;
  for (auto& sequence : request.sequences)
    if (sequence->state == Sequence::State::kRunning) open.push_back(sequence.get());
  std::sort(open.begin(), open.end(),
            [](const Sequence* a, const Sequence* b) { return a->beam < b->beam; });
  return open;
}

void apply_beams(ActiveRequest& request, std::span<const BeamSearch::Beam> next,
                 Scheduler& scheduler, KvCache& cache, double now) {
  const std::vector<Sequence*> open = open_beams(request);
  std::vector<Sequence*> heirs(next.size(), nullptr);
  std::vector<bool> continued(open.size(), false);
  for (std::size_t i = 0; i < next.size(); ++i) {
    const auto parent = static_cast<std::size_t>(next[i].parent);
    TENON_ASSERT(parent < open.size());
    if (continued[parent]) continue;
    continued[parent] = true;
    heirs[i] = open[parent];
  }
  // Places to take: beams that end here, and those held since the start.
  std::vector<Sequence*> places;
  for (std::size_t b = 0; b < open.size(); ++b)
    if (!continued[b]) places.push_back(open[b]);
  for (auto& sequence : request.sequences)
    if (sequence->state == Sequence::State::kHeld && sequence->slot >= 0)
      places.push_back(sequence.get());
  // All are let go before any is taken: a reservation moves from the one to the other.
  for (Sequence* place : places) {
    cache.release(place->cache, now);
    place->cache = -1;
  }
  std::size_t used = 0;
  for (std::size_t i = 0; i < next.size(); ++i) {
    if (heirs[i] != nullptr) continue;
    const Sequence& parent = *open[static_cast<std::size_t>(next[i].parent)];
    TENON_ASSERT(used < places.size());
    Sequence& heir = *places[used++];
    const auto handle = cache.fork(parent.cache, parent.computed, heir.longest, now);
    TENON_CHECK(handle.has_value(), ErrorCode::kInternal, "[beams] a reserved place has no room");
    heir.cache = *handle;
    heir.tokens = parent.tokens;
    heir.computed = parent.computed;
    heir.committed_blocks = parent.committed_blocks;
    heir.parent_slot = parent.slot;
    heirs[i] = &heir;
  }
  for (; used < places.size(); ++used) {  // fewer beams than before
    Sequence& idle = *places[used];
    const std::int64_t shared = open.front()->computed / cache.settings().tokens_per_block;
    const auto handle = cache.fork(open.front()->cache, 0, idle.longest, now, shared);
    TENON_CHECK(handle.has_value(), ErrorCode::kInternal, "[beams] a reserved place has no room");
    idle.cache = *handle;
    scheduler.hold(idle);
  }
  for (std::size_t i = 0; i < next.size(); ++i) {
    Sequence& heir = *heirs[i];
    heir.beam = static_cast<int>(i);
    heir.tokens.push_back(next[i].token);
    heir.chosen_token = next[i].token;
    scheduler.activate(heir);
  }
}

void constrain_beams(ActiveRequest& request) {
  const TokenConstraint* constraint = request.spec->options.constraint.get();
  if (constraint == nullptr) return;
  for (Sequence* beam : open_beams(request)) {
    const std::span<const std::int32_t> output =
        std::span(beam->tokens).subspan(static_cast<std::size_t>(beam->prompt_length));
    if (beam->parent_slot < 0) {
      beam->constraint->accept(output.back());
      continue;
    }
    beam->constraint = constraint->fresh();
    for (const std::int32_t token : output) beam->constraint->accept(token);
  }
}

}  // namespace tenon
