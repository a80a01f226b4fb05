// From what a user may choose to what a session is told.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/session.h"
#include "tenon/config.h"
#include "tenon/llm.h"

namespace tenon {

inline constexpr int kMaxThreads = 1024;  ///< of a run
/// Where an engine's directory, and the cache folder, keep what was measured of kernels.
inline constexpr const char* kTacticFolder = "tactics";

/// What the run asks for, else what the engine was built for, else defaults that suit the machine:
/// a build that was asked for no limits has those of TensorRT-LLM and of the model (`traits`),
/// which are more than a run mostly needs. Throws Error{kUnsupported} naming a data type that does
/// not serve, Error{kInvalidArgument} naming a field of `options` or of its executor that is out of
/// range.
SessionOptions session_options(const LlmOptions& options, const BuildConfig& build,
                               const EngineTraits& traits);

/// The part of that which looks at `options` alone, and at no device.
void check_options(const LlmOptions& options);

}  // namespace tenon
