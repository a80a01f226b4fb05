// SPDX-License-Identifier: Apache-2.0
#include "api/load_engine.h"

#include <optional>

#include "api/build_engine.h"
#include "api/engine_cache.h"
#include "core/check.h"
#include "core/log.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr int kAttempts = 2;  // the second with an engine that was made anew

/// What a damaged file can lead to.
bool may_be_damage(ErrorCode code) {
  return code == ErrorCode::kCorrupt || code == ErrorCode::kNotFound || code == ErrorCode::kIo;
}

/// Empty where the cache folder cannot be used. What is wrong with the model itself is thrown.
std::optional<CacheLease> lease_engine(const ModelSource& source, std::string& key) {
  try {
    make_engines_folder();
    key = cache_key(source, BuildConfig{});
    return cached_engine(key, source.name,
                         [&](const fs::path& path) { build_engine(source, BuildConfig{}, path); });
  } catch (const Error& error) {
    // What is wrong with the model's files shows again when it is built in memory.
    if (error.code() != ErrorCode::kIo && error.code() != ErrorCode::kNotFound) throw;
    log::warn("{}; the engine is not kept", error.what());
    return std::nullopt;
  }
}

void load_in_memory(const ModelSource& source, const EngineLoader& load) {
  auto impl = std::make_shared<Engine::Impl>();
  impl->source = source;
  impl->graphs = build_graphs(source, BuildConfig{});
  impl->build = settle_build_config(BuildConfig{}, impl->graphs.traits);
  load(std::move(impl));
}

}  // namespace

void load_engine(const std::string& path_or_id, bool use_cache, const EngineLoader& load) {
  if (is_directory_of(path_or_id, DirectoryKind::kEngine))
    return load(open_engine_impl(path_or_id));
  const ModelSource source = open_model_source(path_or_id);
  for (int attempt = 1; use_cache; ++attempt) {
    std::string key;
    std::optional<CacheLease> lease = lease_engine(source, key);
    if (!lease) break;
    try {
      return load(open_engine_impl(lease->path));
    } catch (const Error& error) {
      if (attempt == kAttempts || !may_be_damage(error.code())) throw;
    }
    lease.reset();
    discard_if_damaged(key);
  }
  load_in_memory(source, load);
}

}  // namespace tenon
