// manifest.json of a checkpoint or engine directory: what it is, the version of its format, who
// made it, and the checksums of its files.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "core/json.h"

namespace tenon {

/// Bumped where an older Tenon would misread the directory.
inline constexpr std::int64_t kCheckpointVersion = 1;
inline constexpr std::int64_t kEngineVersion = 1;

enum class DirectoryKind { kCheckpoint, kEngine };
std::string_view to_string(DirectoryKind kind);

/// Checksums of a directory's files: file name → {"bytes", "hash"} for small ones, what
/// write_rank_file returned for rank files.
struct Manifest {
  DirectoryKind kind = DirectoryKind::kCheckpoint;
  std::int64_t version = 0;
  std::string made_by;  ///< "tenon 0.1.0"
  Json files = Json::object();
};

/// True where `directory` has a manifest of that kind.
bool is_directory_of(const std::filesystem::path& directory, DirectoryKind kind);

/// Throws Error{kNotFound} where there is none, Error{kUnsupported} where a newer Tenon made it,
/// Error{kCorrupt} where a small file it lists was changed.
Manifest read_manifest(const std::filesystem::path& directory, DirectoryKind kind);

/// Adds a small file, already written, by its content.
void add_file(Manifest& manifest, const std::filesystem::path& directory, std::string_view name);

void write_manifest(const std::filesystem::path& directory, const Manifest& manifest);

/// Throws Error{kInvalidArgument} where writing a directory of that kind to `destination` would
/// take away something else: only nothing, an empty directory, or an older one of its kind is
/// replaced.
void check_destination(const std::filesystem::path& destination, DirectoryKind kind);

}  // namespace tenon
