// SPDX-License-Identifier: Apache-2.0
#include "api/engine_cache.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "api/content_memo.h"
#include "checkpoint/checkpoint_directory.h"
#include "checkpoint/config_json.h"
#include "checkpoint/engine_directory.h"
#include "checkpoint/manifest.h"
#include "core/check.h"
#include "core/hash.h"
#include "core/ledger.h"
#include "core/log.h"
#include "tenon/version.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr double kDefaultMaxGib = 50.0;

fs::path engines_folder() { return cache_folder() / "engines"; }
fs::path memo_file() { return cache_folder() / "content_hashes"; }
fs::path lock_of(const std::string& key) { return engines_folder() / (key + ".lock"); }

/// Entries of a directory that others may be changing.
std::vector<fs::directory_entry> entries_of(const fs::path& directory) {
  std::vector<fs::directory_entry> entries;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    entries.push_back(*entry);
  return entries;
}

std::int64_t bytes_of(const fs::path& directory) {
  std::int64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    const std::uintmax_t size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) bytes += static_cast<std::int64_t>(size);
  }
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

/// An engine's directory, what a killed build of it left ("KEY.partial-PID"), and its note. The
/// lock of `key` is held alone.
void remove_engine(const std::string& key) {
  std::error_code ignored;
  const std::vector<fs::directory_entry> entries = entries_of(engines_folder());
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name == key || name.starts_with(key + ".partial-")) fs::remove_all(entry.path(), ignored);
  }
  fs::remove(engines_folder() / (key + ".txt"), ignored);
}

/// Removes the least recently used engines until the rest fits; `keep` stays whatever it takes, and
/// so does what someone is opening.
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
    const std::optional<FileLock> lock = FileLock::try_exclusive(lock_of(engine.key));
    log::note("cache", "{} {} ({} bytes) to stay below the cap",
              lock ? "removing" : "in use, so not removing", engine.key, engine.bytes);
    if (!lock) continue;
    remove_engine(engine.key);
    std::error_code ignored;
    fs::remove(lock_of(engine.key), ignored);
    total -= engine.bytes;
  }
}

bool has_manifest(const fs::path& path) {
  try {
    return is_directory_of(path, DirectoryKind::kEngine);
  } catch (const Error&) {
    return false;
  }
}

/// What is wrong with an engine's files; every byte is read. Empty: nothing.
std::string damage_of(const fs::path& path) {
  try {
    const EngineDirectory engine = open_engine(path);
    for (const WeightInfo& weight : engine.weights->weights())
      engine.weights->load(weight.name, {});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kResourceExhausted) throw;
    return error.what();
  }
  return {};
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

fs::path make_engines_folder() {
  const fs::path folder = engines_folder();
  std::error_code error;
  fs::create_directories(folder, error);
  TENON_CHECK(
      !error, ErrorCode::kIo,
      "{}: cannot make the cache folder: {}; set TENON_CACHE_DIR to a place you may write to",
      folder.string(), error.message());
  return folder;
}

std::string cache_key(const ModelSource& source, const BuildConfig& build) {
  Hasher hasher;
  hasher.add(std::string_view(kVersion)).add(static_cast<std::uint64_t>(kEngineVersion));
  hasher.add(std::string_view(to_json(source.config).dump()));
  hasher.add(std::string_view(to_json(build).dump()));
  hasher.add(std::string_view(to_json(build_graphs(source, build)).dump()));

  const auto begin = std::chrono::steady_clock::now();
  ContentMemo memo(memo_file());
  for (const fs::path& file : source.files) hasher.add(std::string_view(memo.hash(file)));
  for (const char* name : text_file_names()) {
    if (source.text_directory.empty() || !fs::is_regular_file(source.text_directory / name))
      continue;
    hasher.add(std::string_view(name));
    hasher.add(std::string_view(memo.hash(source.text_directory / name)));
  }
  memo.save();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  log::note("cache", "{}: {} files, {}, were hashed in {:.3f} s", source.name, memo.files_read(),
            format_bytes(memo.bytes_read()), seconds.count());
  return hasher.hex();
}

CacheLease cached_engine(const std::string& key, const std::string& made_of,
                         const std::function<void(const fs::path&)>& make) {
  const fs::path path = make_engines_folder() / key;
  std::error_code ignored;
  while (true) {
    std::optional<FileLock> lock(std::in_place, lock_of(key), FileLock::Kind::kShared);
    if (!has_manifest(path)) {
      lock.reset();  // else it would wait for itself
      lock.emplace(lock_of(key));
      if (!has_manifest(path)) {
        if (fs::exists(path, ignored))
          log::warn("{}: the cached engine has no readable manifest.json; it is made again",
                    path.string());
        log::note("cache", "making {} from {}", path.string(), made_of);
        remove_engine(key);
        make(path);
        write_file_atomically(path.string() + ".txt", made_of + "\n");
        enforce_cap(key);
      }
      // Someone may have removed it again before the lock was shared.
      if (!lock->share() || !has_manifest(path)) continue;
    }
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return {path, std::move(*lock)};
  }
}

void discard_if_damaged(const std::string& key) {
  const FileLock lock(lock_of(key));
  const fs::path path = engines_folder() / key;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  const std::string damage = damage_of(path);
  if (damage.empty()) return;
  log::warn("the cached engine is damaged and is made again: {}", damage);
  remove_engine(key);
}

std::vector<CachedEngine> list_cached_engines() {
  std::vector<CachedEngine> engines;
  const std::vector<fs::directory_entry> entries = entries_of(engines_folder());
  for (const fs::directory_entry& entry : entries) {
    std::error_code error;
    const std::string name = entry.path().filename().string();
    if (!entry.is_directory(error) || name.find('.') != std::string::npos) continue;
    CachedEngine engine;
    engine.key = name;
    engine.path = entry.path();
    engine.bytes = bytes_of(entry.path());
    engine.used = fs::last_write_time(entry.path(), error);
    if (error) continue;  // removed meanwhile
    try {
      engine.made_of = read_file(entry.path().string() + ".txt");
    } catch (const Error&) {
      engine.made_of = "unknown";  // the note is written after the engine, and may be lost
    }
    while (engine.made_of.ends_with('\n')) engine.made_of.pop_back();
    engines.push_back(std::move(engine));
  }
  return engines;
}

std::int64_t clear_cache(const std::string& key) {
  std::set<std::string> keys;  // also of builds that were killed
  const std::vector<fs::directory_entry> entries = entries_of(engines_folder());
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    const std::string owner = name.substr(0, name.find('.'));
    if (key.empty() || owner == key) keys.insert(owner);
  }
  TENON_CHECK(key.empty() || !keys.empty(), ErrorCode::kNotFound, "the cache has no engine \"{}\"",
              key);
  const std::int64_t before = bytes_of(engines_folder());
  std::error_code ignored;
  for (const std::string& one : keys) {
    const FileLock lock(lock_of(one));
    remove_engine(one);
    fs::remove(lock_of(one), ignored);
  }
  if (key.empty()) {
    fs::remove(memo_file(), ignored);
    fs::remove(memo_file().string() + ".lock", ignored);
  }
  return std::max<std::int64_t>(before - bytes_of(engines_folder()), 0);
}

}  // namespace tenon
