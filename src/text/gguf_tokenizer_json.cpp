// The JSON form of a GGUF tokenizer: every field under its own name, bytes as base64.
// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "core/check.h"
#include "core/json.h"
#include "text/base64.h"
#include "text/gguf_tokenizer.h"
#include "text/json_fields.h"

namespace tenon {
namespace {

constexpr std::int64_t kVersion = 1;

template <class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json.set(key, Json(*value));
}

std::optional<std::int32_t> get_id(const Json& json, const char* key, std::string_view where) {
  const Json* const found = find_field(json, key);
  if (found == nullptr) return std::nullopt;
  const std::int64_t id = found->as_int(key);
  TENON_CHECK(id >= 0 && id < (std::int64_t{1} << 31), ErrorCode::kCorrupt, "{}: {} is {}", where,
              key, id);
  return static_cast<std::int32_t>(id);
}

std::optional<bool> get_bool(const Json& json, const char* key) {
  const Json* const found = find_field(json, key);
  return found == nullptr ? std::nullopt : std::optional<bool>(found->as_bool(key));
}

}  // namespace

std::string gguf_tokenizer_to_json(const GgufTokenizerData& data) {
  Json json;
  json.set("version", Json(kVersion));
  json.set("model", Json(data.model));
  json.set("pre", Json(data.pre));
  put(json, "bos_token_id", data.bos_id);
  put(json, "eos_token_id", data.eos_id);
  put(json, "unknown_token_id", data.unk_id);
  put(json, "padding_token_id", data.pad_id);
  put(json, "seperator_token_id", data.sep_id);  // spelled as GGUF spells it
  put(json, "add_bos_token", data.add_bos);
  put(json, "add_eos_token", data.add_eos);
  put(json, "add_space_prefix", data.add_space_prefix);
  put(json, "remove_extra_whitespaces", data.remove_extra_whitespaces);
  if (!data.precompiled_charsmap.empty())
    json.set("precompiled_charsmap", Json(encode_base64(data.precompiled_charsmap)));
  Json::Array tokens, scores, types, merges;
  for (const std::string& token : data.tokens) tokens.emplace_back(token);
  for (const float score : data.scores) scores.emplace_back(static_cast<double>(score));
  for (const std::int32_t type : data.token_types) types.emplace_back(type);
  for (const std::string& merge : data.merges) merges.emplace_back(merge);
  json.set("tokens", Json(std::move(tokens)));
  if (!scores.empty()) json.set("scores", Json(std::move(scores)));
  if (!types.empty()) json.set("token_type", Json(std::move(types)));
  if (!merges.empty()) json.set("merges", Json(std::move(merges)));
  return json.dump();
}

static GgufTokenizerData read_data(const Json& json, std::string_view where) {
  const std::int64_t version = json.at("version", where).as_int("version");
  TENON_CHECK(version == kVersion, ErrorCode::kUnsupported,
              "{}: version {}, expected {}: written by a newer Tenon?", where, version, kVersion);
  GgufTokenizerData data;
  data.where = where;
  data.model = json.at("model", where).as_string("model");
  data.pre = string_field(json, "pre", "");
  data.bos_id = get_id(json, "bos_token_id", where);
  data.eos_id = get_id(json, "eos_token_id", where);
  data.unk_id = get_id(json, "unknown_token_id", where);
  data.pad_id = get_id(json, "padding_token_id", where);
  data.sep_id = get_id(json, "seperator_token_id", where);
  data.add_bos = get_bool(json, "add_bos_token");
  data.add_eos = get_bool(json, "add_eos_token");
  data.add_space_prefix = get_bool(json, "add_space_prefix");
  data.remove_extra_whitespaces = get_bool(json, "remove_extra_whitespaces");
  data.precompiled_charsmap = decode_base64(string_field(json, "precompiled_charsmap", ""), where);
  for (const Json& token : json.at("tokens", where).as_array("tokens"))
    data.tokens.push_back(token.as_string("token"));
  if (const Json* const scores = find_field(json, "scores"))
    for (const Json& score : scores->as_array("scores"))
      data.scores.push_back(static_cast<float>(score.as_double("score")));
  if (const Json* const types = find_field(json, "token_type"))
    for (const Json& type : types->as_array("token_type"))
      data.token_types.push_back(static_cast<std::int32_t>(type.as_int("token_type")));
  if (const Json* const merges = find_field(json, "merges"))
    for (const Json& merge : merges->as_array("merges"))
      data.merges.push_back(merge.as_string("merge"));
  return data;
}

GgufTokenizerData gguf_tokenizer_from_json(std::string_view text, std::string_view where) {
  const Json json = Json::parse(text, where);
  return naming_source(where, [&] { return read_data(json, where); });
}

}  // namespace tenon
