// The beams of one request in slots and cache: who goes on in place, who takes over from whom.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "runtime/scheduler.h"

namespace tenon {

/// The request's open beams in BeamSearch's order; before the first step its first sequence alone.
std::vector<Sequence*> open_beams(ActiveRequest& request);

/// Makes the sequences of `request` those of `next`. A beam's first continuation stays in its slot
/// and keeps its blocks; further ones take the places of beams that ended, sharing the blocks.
void apply_beams(ActiveRequest& request, std::span<const BeamSearch::Beam> next,
                 Scheduler& scheduler, KvCache& cache, double now);

/// After apply_beams(): each beam's token constraint stands where its output does. Throws what a
/// constraint throws.
void constrain_beams(ActiveRequest& request);

}  // namespace tenon
