// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_report.h"

#include <map>

#include "checkpoint/config_json.h"
#include "cli/sampling_flags.h"

namespace tenon::cli {
namespace {

constexpr std::uint64_t kMetadataItems = 5;

Json list_files(const InspectTarget& target) {
  Json list = Json::array();
  for (const std::filesystem::path& file : target.files) {
    std::error_code ignored;
    const std::uintmax_t bytes = std::filesystem::file_size(file, ignored);
    Json row = Json::object();
    row.set("name", file.filename().string());
    row.set("bytes", ignored ? Json() : Json(static_cast<std::int64_t>(bytes)));
    list.push_back(std::move(row));
  }
  return list;
}

struct Sum {
  std::int64_t count = 0;
  std::int64_t parameters = 0;
  std::int64_t bytes = 0;

  void add(const Shape& shape, std::int64_t more) {
    ++count;
    parameters += weight_elements(shape);
    bytes += more;
  }
  void write(Json& json) const {
    json.set("count", count);
    json.set("parameters", parameters);
    json.set("bytes", bytes);
  }
};

Json sum_tensors(const InspectTarget& target) {
  Sum all;
  std::map<std::string, Sum> formats;
  for (const InspectedTensor& tensor : target.tensors) {
    all.add(tensor.shape, tensor.bytes);
    formats[tensor.format].add(tensor.shape, tensor.bytes);
  }
  Json rows = Json::array();
  for (const auto& [format, sum] : formats) {
    Json row = Json::object();
    row.set("format", format);
    sum.write(row);
    rows.push_back(std::move(row));
  }
  Json json = Json::object();
  all.write(json);
  json.set("by_format", std::move(rows));
  return json;
}

Json list_tensors(const InspectTarget& target) {
  Json list = Json::array();
  for (const InspectedTensor& tensor : target.tensors) {
    Json shape = Json::array();
    for (const std::int64_t extent : tensor.shape) shape.push_back(extent);
    Json row = Json::object();
    row.set("name", tensor.name);
    row.set("shape", std::move(shape));
    row.set("format", tensor.format);
    row.set("bytes", tensor.bytes);
    if (!tensor.file.empty()) row.set("file", tensor.file);
    list.push_back(std::move(row));
  }
  return list;
}

/// Arrays are cut; what is left out is counted.
Json metadata_as_json(const GgufMetadata& metadata) {
  Json json = Json::object();
  for (const auto& [key, value] : metadata.members()) {
    Json shown = value.to_json(kMetadataItems);
    if (value.size() > kMetadataItems)
      shown.push_back("… " + std::to_string(value.size() - kMetadataItems) + " more");
    json.set(key, std::move(shown));
  }
  return json;
}

const char* part_of(const std::string& weight) {
  const auto has = [&](const char* word) { return weight.find(word) != weight.npos; };
  if (has("embedding")) return "embedding";
  if (has("norm") || has("ln_f")) return "norms";
  if (has(".attention.")) return "attention";
  if (has(".mlp.")) return "mlp";
  if (has("lm_head")) return "head";
  return "other";
}

Json kv_bytes_per_token(const EngineTraits& traits) {
  std::int64_t numbers = 0;
  std::int64_t scales = 0;
  for (const EngineTraits::CacheLayer& layer : traits.cache_layers) {
    numbers += 2 * layer.kv_heads * layer.head_dim;
    scales += 2 * layer.kv_heads;
  }
  Json json = Json::object();
  json.set("float32", 4 * numbers);
  json.set("float16", 2 * numbers);
  json.set("int8", numbers + 4 * scales);
  return json;
}

/// As the files hold it; a backend may pack wider (tenon run --verbose shows what was taken).
Json memory_by_part(const InspectTarget& target) {
  std::map<std::string, Sum> sums;
  for (const WeightInfo& weight : target.weights->weights())
    sums[part_of(weight.name)].add(weight.shape, weight_bytes(weight));
  Json parts = Json::array();
  for (const char* part : {"embedding", "attention", "mlp", "norms", "head", "other"}) {
    const auto found = sums.find(part);
    if (found == sums.end()) continue;
    Json row = Json::object();
    row.set("part", part);
    found->second.write(row);
    parts.push_back(std::move(row));
  }
  Json json = Json::object();
  json.set("weights", std::move(parts));
  json.set("head_shares_embedding", target.config->share_embedding_table);
  if (target.graphs)
    json.set("kv_cache_bytes_per_token", kv_bytes_per_token(target.graphs->traits));
  return json;
}

Json text_as_json(const InspectTarget& target) {
  Json json = Json::object();
  json.set("tokenizer", target.tokenizer_kind.empty() ? Json() : Json(target.tokenizer_kind));
  if (const Tokenizer* tokenizer = target.text.tokenizer.get()) {
    json.set("vocabulary", std::int64_t{tokenizer->vocab_size()});
    const auto token = [&](const char* key, std::optional<std::int32_t> id) {
      if (id) json.set(key, tokenizer->token_text(*id) + " (" + std::to_string(*id) + ")");
    };
    token("beginning_of_text", tokenizer->bos_id());
    token("end_of_text", tokenizer->eos_id());
    token("padding", tokenizer->pad_id());
  }
  json.set("chat_template", target.text.chat_template != nullptr);
  json.set("sampling", describe(target.text.sampling));
  return json;
}

}  // namespace

Json inspect_report(const InspectTarget& target, bool all_tensors) {
  Json json = Json::object();
  json.set("name", target.name);
  json.set("kind", target.kind);
  if (target.config) json.set("architecture", target.config->architecture);
  if (!target.problem.empty()) json.set("problem", target.problem);
  if (target.manifest) {
    json.set("made_by", target.manifest->made_by);
    json.set("format_version", target.manifest->version);
  }
  json.set("files", list_files(target));
  json.set("tensors", sum_tensors(target));
  if (target.weights) json.set("memory", memory_by_part(target));
  if (target.config) json.set("text", text_as_json(target));
  if (target.config) json.set("config", to_json(*target.config));
  if (target.build) json.set("build_config", to_json(*target.build));
  if (target.foreign_config) json.set("config_json", *target.foreign_config);
  if (target.gguf) json.set("gguf_metadata", metadata_as_json(*target.gguf));
  if (all_tensors) json.set("tensor_list", list_tensors(target));
  return json;
}

}  // namespace tenon::cli
