// The cache folder: engines made on the way by `run` and `chat`, keyed by the content of what they
// were made of. $TENON_CACHE_DIR, else $XDG_CACHE_HOME/tenon, else ~/.cache/tenon; engines lie in
// engines/KEY. At most $TENON_CACHE_MAX_GIB (default 50) are kept, least recently used first to go.
// Invariant: who makes or removes engines/KEY holds engines/KEY.lock alone; who opens it shares it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "api/model_source.h"
#include "core/file.h"

namespace tenon {

struct CachedEngine {
  std::string key;
  std::filesystem::path path;
  std::int64_t bytes = 0;
  std::string made_of;  ///< the model's name as the user gave it
  std::filesystem::file_time_type used;
};

/// An engine of the cache that stays there while this lives.
struct CacheLease {
  std::filesystem::path path;
  FileLock lock;
};

std::filesystem::path cache_folder();

/// The engines' folder, made where it is missing. Throws Error{kIo} where that cannot be.
std::filesystem::path make_engines_folder();

/// Key of the engine that `build` makes of `source`: Tenon's version and its engine format's; the
/// whole content of config, weights and text files; the graphs, config and build config that go
/// into the engine. Neither paths nor times. Reads every byte of files that the cache folder's memo
/// does not know.
std::string cache_key(const ModelSource& source, const BuildConfig& build);

/// The cached engine of that key; made by `make` (into the path it is given) where there is none.
/// Of several processes that want the same engine one makes it, the others wait. An engine without
/// a readable manifest is made again, with a warning.
CacheLease cached_engine(const std::string& key, const std::string& made_of,
                         const std::function<void(const std::filesystem::path&)>& make);

/// Reads the whole cached engine of that key and removes it, with a warning, where a file is
/// missing or its checksum is wrong. Nobody may hold its lease in this thread.
void discard_if_damaged(const std::string& key);

std::vector<CachedEngine> list_cached_engines();

/// Removes cached engines (all, or that of one key) once nobody opens them; returns the bytes that
/// were freed.
std::int64_t clear_cache(const std::string& key = {});

}  // namespace tenon
