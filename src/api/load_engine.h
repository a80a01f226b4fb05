// From whatever a user named to an engine that is loaded: through the cache folder where it is a
// model. A cached engine that turns out to be damaged is made again; one that was named is not.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/engine_impl.h"

namespace tenon {

using EngineLoader = std::function<void(std::shared_ptr<Engine::Impl>)>;

/// Calls `load` with the engine of `path_or_id`. A model is built into the cache folder first, or
/// in memory where that folder cannot be written (with a warning) or `use_cache` is false. While
/// `load` runs nobody removes the cached engine; afterwards it must not read its directory. It is
/// called again, once, where a cached engine was damaged.
void load_engine(const std::string& path_or_id, bool use_cache, const EngineLoader& load);

}  // namespace tenon
