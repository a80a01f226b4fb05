// The cache folder: engines made on the way by `run` and `chat`, keyed by what they were made of.
// $TENON_CACHE_DIR, else $XDG_CACHE_HOME/tenon, else ~/.cache/tenon; engines lie in engines/KEY.
// At most $TENON_CACHE_MAX_GIB (default 50) are kept, least recently used first to go.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tenon {

struct CachedEngine {
  std::string key;
  std::filesystem::path path;
  std::int64_t bytes = 0;
  std::string made_of;  ///< the model's name as the user gave it
  std::filesystem::file_time_type used;
};

std::filesystem::path cache_folder();

/// Key of a model's files: their paths, sizes, times of change, and the content of their first and
/// last 64 KiB; and `options`, whatever else the engine depends on.
std::string cache_key(const std::vector<std::filesystem::path>& files, const std::string& options);

/// The cached engine of that key; made by `make` (into the path it is given) where there is none.
/// Two processes that want the same engine: one makes it, the other waits.
std::filesystem::path cached_engine(const std::string& key, const std::string& made_of,
                                    const std::function<void(const std::filesystem::path&)>& make);

std::vector<CachedEngine> list_cached_engines();

/// Removes cached engines (all, or that of one key); returns the bytes that were freed.
std::int64_t clear_cache(const std::string& key = {});

}  // namespace tenon
