// SPDX-License-Identifier: Apache-2.0
#include "api/engine_cache.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <system_error>

#include "checkpoint/manifest.h"
#include "core/check.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/mapped_file.h"
#include "tenon/version.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr double kDefaultMaxGib = 50.0;

fs::path engines_folder() { return cache_folder() / "engines"; }

std::int64_t bytes_of(const fs::path& directory) {
  std::int64_t bytes = 0;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory, ignored))
    if (entry.is_regular_file(ignored))
      bytes += static_cast<std::int64_t>(entry.file_size(ignored));
  return bytes;
}

double max_gib() {
  const char* variable = std::getenv("TENON_CACHE_MAX_GIB");
  if (variable == nullptr) return kDefaultMaxGib;
  char* end = nullptr;
  const double gib = std::strtod(variable, &end);
  TENON_CHECK(end != variable && *end == '\0' && gib >= 0, ErrorCode::kInvalidArgument,
              "TENON_CACHE_MAX_GIB: \"{}\" is not a number of GiB", variable);
  return gib;
}

/// An engine's directory, and what a killed build of it left ("KEY.partial-PID"). The lock of `key`
/// is held.
void remove_leftovers(const std::string& key) {
  std::error_code ignored;
  std::vector<fs::path> paths = {engines_folder() / key};
  for (const fs::directory_entry& entry : fs::directory_iterator(engines_folder(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(key + ".partial-") || name.starts_with(key + ".replaced-"))
      paths.push_back(entry.path());
  }
  for (const fs::path& path : paths) fs::remove_all(path, ignored);
}

/// Removes the least recently used engines until the rest fits; `keep` stays whatever it takes.
void enforce_cap(const std::string& keep) {
  std::vector<CachedEngine> engines = list_cached_engines();
  std::sort(engines.begin(), engines.end(),
            [](const CachedEngine& a, const CachedEngine& b) { return a.used < b.used; });
  std::int64_t total = 0;
  for (const CachedEngine& engine : engines) total += engine.bytes;
  const auto cap = static_cast<std::int64_t>(max_gib() * 1024 * 1024 * 1024);
  for (const CachedEngine& engine : engines) {
    if (total <= cap) return;
    if (engine.key == keep) continue;
    log::note("cache", "removing {} ({} bytes) to stay below the cap", engine.key, engine.bytes);
    std::error_code ignored;
    fs::remove_all(engine.path, ignored);
    fs::remove(engine.path.string() + ".txt", ignored);
    total -= engine.bytes;
  }
}

}  // namespace

fs::path cache_folder() {
  if (const char* own = std::getenv("TENON_CACHE_DIR"); own != nullptr && *own != '\0') return own;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg != '\0')
    return fs::path(xdg) / "tenon";
  const char* home = std::getenv("HOME");
  TENON_CHECK(home != nullptr && *home != '\0', ErrorCode::kNotFound,
              "no place for the cache folder: neither TENON_CACHE_DIR, XDG_CACHE_HOME nor HOME is "
              "set; set TENON_CACHE_DIR");
  return fs::path(home) / ".cache" / "tenon";
}

std::string cache_key(const std::vector<fs::path>& files, const std::string& options) {
  constexpr std::size_t kEdge = 64 * 1024;
  Hasher hasher;
  hasher.add(std::string_view(kVersion)).add(static_cast<std::uint64_t>(kEngineVersion));
  hasher.add(std::string_view(options));
  for (const fs::path& file : files) {
    const auto mapped = MappedFile::open(file);
    const auto bytes = mapped->bytes();
    hasher.add(fs::weakly_canonical(file).string());
    hasher.add(static_cast<std::uint64_t>(bytes.size()));
    hasher.add(static_cast<std::uint64_t>(fs::last_write_time(file).time_since_epoch().count()));
    hasher.add(bytes.first(std::min(kEdge, bytes.size())));
    hasher.add(bytes.last(std::min(kEdge, bytes.size())));
  }
  return hasher.hex();
}

fs::path cached_engine(const std::string& key, const std::string& made_of,
                       const std::function<void(const fs::path&)>& make) {
  const fs::path folder = engines_folder();
  std::error_code error;
  fs::create_directories(folder, error);
  TENON_CHECK(
      !error, ErrorCode::kIo,
      "{}: cannot make the cache folder: {}; set TENON_CACHE_DIR to a place you may write to",
      folder.string(), error.message());
  const fs::path path = folder / key;
  const FileLock lock(folder / (key + ".lock"));
  if (!is_directory_of(path, DirectoryKind::kEngine)) {
    log::note("cache", "making {} from {}", path.string(), made_of);
    remove_leftovers(key);
    make(path);
    write_file_atomically(folder / (key + ".txt"), made_of + "\n");
    enforce_cap(key);
  }
  fs::last_write_time(path, fs::file_time_type::clock::now(), error);
  return path;
}

std::vector<CachedEngine> list_cached_engines() {
  std::vector<CachedEngine> engines;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(engines_folder(), error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory(error) || name.find('.') != std::string::npos) continue;
    CachedEngine engine;
    engine.key = name;
    engine.path = entry.path();
    engine.bytes = bytes_of(entry.path());
    engine.used = fs::last_write_time(entry.path(), error);
    const fs::path note = entry.path().string() + ".txt";
    if (fs::exists(note)) engine.made_of = read_file(note);
    while (engine.made_of.ends_with('\n')) engine.made_of.pop_back();
    engines.push_back(std::move(engine));
  }
  return engines;
}

std::int64_t clear_cache(const std::string& key) {
  std::set<std::string> keys;  // also of builds that were killed
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(engines_folder(), error)) {
    const std::string name = entry.path().filename().string();
    const std::string owner = name.substr(0, name.find('.'));
    if (key.empty() || owner == key) keys.insert(owner);
  }
  TENON_CHECK(key.empty() || !keys.empty(), ErrorCode::kNotFound, "the cache has no engine \"{}\"",
              key);
  const std::int64_t before = bytes_of(engines_folder());
  for (const std::string& one : keys) {
    const fs::path path = engines_folder() / one;
    const FileLock lock(path.string() + ".lock");
    remove_leftovers(one);
    fs::remove(path.string() + ".txt");
    fs::remove(path.string() + ".lock");
  }
  return before - bytes_of(engines_folder());
}

}  // namespace tenon
