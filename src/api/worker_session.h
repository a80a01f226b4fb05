// A session that a worker process serves: an error that stays with a process (CUDA's sticky ones),
// a crash, a kill end the worker, and the next step is prepared in a new one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "api/model_source.h"
#include "engine/session.h"
#include "tenon/llm.h"

namespace tenon {

/// Starts a worker (ExecutorConfig::worker_executable) that opens `path` as load_engine() does and
/// loads it with `options`. What the load fails with there is thrown here. `source`: the same as it
/// is open here; a worker that finds other files later does not serve them.
///
/// The session differs from one in this process in this: a step may fail because the worker is gone
/// (Session::lost_workers() went up before wait() or read() threw). prepare() then starts a new one
/// and waits for its load; where that fails, the step fails.
std::unique_ptr<Session> load_in_worker(const std::string& path, const ModelSource& source,
                                        const LlmOptions& options);

}  // namespace tenon
