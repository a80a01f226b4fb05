// Checkpoint and engine directories: manifest.json, config.json, graph.json and rank files with
// their "tenon.parts". Checksums that the manifest leaves open are filled in, since no mutation
// would guess them.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/engine_directory.h"

#include "checkpoint/safetensors.h"
#include "core/hash.h"
#include "fuzz_directory.h"
#include "fuzz_weights.h"

namespace {

using tenon::Json;

constexpr tenon::FuzzFile kFiles[] = {{'M', "manifest.json"},     {'C', "config.json"},
                                      {'G', "graph.json"},        {'T', "tokenizer.json"},
                                      {'0', "rank0.safetensors"}, {'1', "rank1.safetensors"}};

std::string hash_of(std::string_view text) {
  return tenon::Hasher().add(std::as_bytes(std::span(text.data(), text.size()))).hex();
}

/// {"bytes": null, "header": null, "tensors": null} of a rank file.
void fill_rank_row(std::string_view file, Json& row) {
  const auto is_open = [&](const char* key) {
    const Json* value = row.find(key);
    return value != nullptr && value->is_null();
  };
  const auto header =
      tenon::parse_safetensors(std::as_bytes(std::span(file.data(), file.size())), "fuzz");
  if (is_open("header")) row.set("header", hash_of(file.substr(0, header.data_offset)));
  if (!is_open("tensors")) return;
  Json sums = Json::object();
  for (const tenon::SafetensorsEntry& entry : header.tensors)
    sums.set(entry.name, hash_of(file.substr(entry.offset, entry.bytes)));
  row.set("tensors", std::move(sums));
}

/// The manifest with what it leaves null.
std::string fill_manifest(const std::string& text,
                          const std::map<std::string, std::string>& files) {
  try {
    Json manifest = Json::parse(text, "manifest");
    for (auto& [key, list] : manifest.mutable_object()) {
      if (key != "files") continue;
      for (auto& [name, row] : list.mutable_object()) {
        const auto file = files.find(name);
        if (file == files.end()) continue;
        if (const Json* bytes = row.find("bytes"); bytes != nullptr && bytes->is_null())
          row.set("bytes", static_cast<std::int64_t>(file->second.size()));
        if (const Json* hash = row.find("hash"); hash != nullptr && hash->is_null())
          row.set("hash", hash_of(file->second));
        if (row.find("header") != nullptr) fill_rank_row(file->second, row);
      }
    }
    return manifest.dump();
  } catch (const tenon::Error&) {
    return text;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static tenon::FuzzDirectory directory;
  auto files = tenon::split_files(tenon::FuzzInput{data, size}.text(), kFiles);
  for (const char* name : {"rank0.safetensors", "rank1.safetensors"})
    if (files.contains(name)) files[name] = tenon::make_safetensors(files[name]);
  if (files.contains("manifest.json"))
    files["manifest.json"] = fill_manifest(files["manifest.json"], files);
  directory.clear();
  for (const auto& [name, content] : files) directory.write(name, content);
  tenon::fuzz([&] { tenon::check_destination(directory.path(), tenon::DirectoryKind::kEngine); });
  tenon::fuzz([&] { tenon::load_weights(*tenon::open_checkpoint(directory.path()).weights); });
  return tenon::fuzz([&] {
    const tenon::EngineDirectory engine = tenon::open_engine(directory.path());
    tenon::load_weights(*engine.weights);
  });
}
