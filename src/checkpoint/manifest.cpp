// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/manifest.h"

#include "core/check.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/mapped_file.h"
#include "tenon/version.h"

namespace tenon {
namespace {

constexpr const char* kFileName = "manifest.json";

std::int64_t current_version(DirectoryKind kind) {
  return kind == DirectoryKind::kCheckpoint ? kCheckpointVersion : kEngineVersion;
}

void check_small_file(const std::filesystem::path& directory, const std::string& name,
                      const Json& row) {
  const std::filesystem::path path = confined_path(directory, name, kFileName);
  const auto mapped = MappedFile::open(path);
  TENON_CHECK(Hasher().add(mapped->bytes()).hex() == row.at("hash", name).as_string(name),
              ErrorCode::kCorrupt,
              "{}: it was changed since it was written; make the directory "
              "again",
              path.string());
}

}  // namespace

std::string_view to_string(DirectoryKind kind) {
  return kind == DirectoryKind::kCheckpoint ? "tenon-checkpoint" : "tenon-engine";
}

bool is_directory_of(const std::filesystem::path& directory, DirectoryKind kind) {
  const std::filesystem::path path = directory / kFileName;
  if (!std::filesystem::exists(path)) return false;
  const Json json = Json::parse(read_file(path), path.string());
  const Json* format = json.find("format");
  return format != nullptr && *format == Json(to_string(kind));
}

Manifest read_manifest(const std::filesystem::path& directory, DirectoryKind kind) {
  const std::filesystem::path path = directory / kFileName;
  const std::string where = path.string();
  TENON_CHECK(std::filesystem::exists(path), ErrorCode::kNotFound,
              "{}: no {} directory of Tenon: it has no {}", directory.string(),
              kind == DirectoryKind::kEngine ? "engine" : "checkpoint", kFileName);
  const Json json = Json::parse(read_file(path), where);
  const std::string& format = json.at("format", where).as_string("format");
  TENON_CHECK(format == to_string(kind), ErrorCode::kInvalidArgument,
              "{}: this is a {}, expected a {}", directory.string(), format, to_string(kind));
  Manifest manifest;
  manifest.kind = kind;
  manifest.version = json.at("version", where).as_int("version");
  manifest.made_by = json.at("made_by", where).as_string("made_by");
  TENON_CHECK(
      manifest.version >= 1 && manifest.version <= current_version(kind), ErrorCode::kUnsupported,
      "{}: {} version {}, made by {}; this is tenon {}, which reads up to version {}. Use a "
      "newer Tenon, or make the directory again with this one",
      directory.string(), format, manifest.version, manifest.made_by, kVersion,
      current_version(kind));
  manifest.files = json.at("files", where);
  for (const auto& [name, row] : manifest.files.as_object("files"))
    if (row.find("hash") != nullptr) check_small_file(directory, name, row);
  return manifest;
}

void add_file(Manifest& manifest, const std::filesystem::path& directory, std::string_view name) {
  const auto mapped = MappedFile::open(directory / name);
  Json row = Json::object();
  row.set("bytes", static_cast<std::int64_t>(mapped->bytes().size()));
  row.set("hash", Hasher().add(mapped->bytes()).hex());
  manifest.files.set(name, std::move(row));
}

void write_manifest(const std::filesystem::path& directory, const Manifest& manifest) {
  Json json = Json::object();
  json.set("format", std::string(to_string(manifest.kind)));
  json.set("version", current_version(manifest.kind));
  json.set("made_by", std::string("tenon ") + kVersion);
  json.set("files", manifest.files);
  write_file_atomically(directory / kFileName, json.dump(1) + "\n");
}

void check_destination(const std::filesystem::path& destination, DirectoryKind kind) {
  std::error_code error;
  if (!std::filesystem::exists(destination, error)) return;
  bool ours = std::filesystem::is_directory(destination, error) &&
              std::filesystem::is_empty(destination, error);
  try {
    ours = ours || is_directory_of(destination, kind);
  } catch (const std::exception&) {
    // Something else is called manifest.json there.
  }
  TENON_CHECK(ours, ErrorCode::kInvalidArgument,
              "{}: it is there already and is no {}, so it is not replaced; give another output "
              "directory, or remove it first",
              destination.string(), to_string(kind));
}

}  // namespace tenon
