// What a session's limits may be, and what they cost beside the backends' own buffers. Pure.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/session.h"

namespace tenon {

/// Throws Error{kInvalidArgument} naming the limit that cannot be.
void check_session_limits(const SessionOptions& options, const EngineTraits& traits);

/// Bytes that steps keep on the host: rows of two batches, histories of the slots, and the stacks
/// of `threads` as far as they are used.
std::int64_t step_host_bytes(const SessionOptions& options, int threads);

/// Bytes that an in-process communicator keeps for a rank: its share of the largest sum, and two
/// messages on their way to the next stage.
std::int64_t communication_bytes(const ProgramDescription& program, const Mapping& mapping);

}  // namespace tenon
