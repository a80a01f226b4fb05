// Communicators between ranks that are threads of one process: a laptop tests tensor and pipeline
// parallelism with them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/communicator.h"
#include "core/mapping.h"

namespace tenon {

/// One a rank of the world; each is used by one thread at a time. They share what they need among
/// them, so the last one destroyed frees it.
std::vector<std::unique_ptr<Communicator>> make_in_process_communicators(const Mapping& mapping);

}  // namespace tenon
