// The local caches of the Hugging Face hub: models--ORG--NAME/{refs,snapshots,blobs}.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <system_error>

#include "checkpoint/model_files.h"
#include "core/file.h"

namespace tenon {
namespace fs = std::filesystem;
namespace {

/// "name" or "org/name" of the hub's characters.
bool is_hub_id(std::string_view id) {
  const bool characters = std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  });
  return characters && !id.empty() && id.size() <= 200 && std::ranges::count(id, '/') <= 1 &&
         id.front() != '/' && id.back() != '/' && id.front() != '.' && id.find("/.") == id.npos;
}

std::vector<fs::path> cache_folders() {
  std::vector<fs::path> folders;
  const auto add = [&](const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == 0) return;
    const fs::path folder = *below == 0 ? fs::path(value) : fs::path(value) / below;
    if (std::ranges::find(folders, folder) == folders.end()) folders.push_back(folder);
  };
  add("HF_HUB_CACHE", "");
  add("HUGGINGFACE_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("XDG_CACHE_HOME", "huggingface/hub");
  add("HOME", ".cache/huggingface/hub");
  return folders;
}

/// The snapshot that refs/main names, or else the newest; empty where there is none.
fs::path snapshot_of(const fs::path& model) {
  std::error_code error;
  if (fs::exists(model / "refs" / "main", error)) {
    std::string commit = read_file(model / "refs" / "main", 4096);
    while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0)
      commit.pop_back();
    const fs::path named =
        confined_path(model / "snapshots", commit, (model / "refs" / "main").string());
    if (fs::is_directory(named, error)) return named;
  }
  fs::path newest;
  fs::file_time_type newest_time;
  for (fs::directory_iterator entry(model / "snapshots", error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) continue;
    const fs::file_time_type time = entry->last_write_time(ignored);
    if (newest.empty() || time > newest_time) {
      newest = entry->path();
      newest_time = time;
    }
  }
  return newest;
}

}  // namespace

fs::path find_in_hub_cache(std::string_view id, std::vector<fs::path>& looked) {
  if (!is_hub_id(id)) return {};
  std::string folder = "models--";
  for (const char c : id) folder += c == '/' ? std::string("--") : std::string(1, c);
  for (const fs::path& cache : cache_folders()) {
    looked.push_back(cache / folder);
    std::error_code ignored;
    if (!fs::is_directory(looked.back(), ignored)) continue;
    const fs::path snapshot = snapshot_of(looked.back());
    if (!snapshot.empty()) return snapshot;
  }
  return {};
}

}  // namespace tenon
