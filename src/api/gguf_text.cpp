// SPDX-License-Identifier: Apache-2.0
#include "api/gguf_text.h"

#include "core/check.h"

namespace tenon {
namespace {

constexpr const char* kPrefix = "tokenizer.ggml.";

class Reader {
 public:
  Reader(const GgufMetadata& metadata, const std::string& where)
      : metadata_(metadata), where_(where) {}

  const GgufValue* find(const char* key) const {
    return metadata_.find(std::string(kPrefix) + key);
  }
  std::string name(const char* key) const { return where_ + ": " + kPrefix + key; }

  std::string text(const char* key) const {
    const GgufValue* value = find(key);
    return value == nullptr ? std::string() : value->as_string(name(key));
  }
  std::optional<std::int32_t> id(const char* key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::nullopt;
    const std::int64_t number = value->as_int(name(key));
    if (number < 0 || number > INT32_MAX) return std::nullopt;  // "none" is written as all ones
    return static_cast<std::int32_t>(number);
  }
  std::optional<bool> flag(const char* key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) return std::nullopt;
    return value->as_bool(name(key));
  }
  std::vector<std::string> texts(const char* key) const {
    const GgufValue* value = find(key);
    return value == nullptr ? std::vector<std::string>() : value->as_strings(name(key));
  }

 private:
  const GgufMetadata& metadata_;
  const std::string& where_;
};

}  // namespace

std::optional<GgufTokenizerData> gguf_tokenizer(const GgufMetadata& metadata,
                                                const std::string& where) {
  const Reader reader(metadata, where);
  GgufTokenizerData data;
  data.model = reader.text("model");
  if (data.model.empty() || data.model == "none" || data.model == "no_vocab") return std::nullopt;
  data.where = where;
  data.pre = reader.text("pre");
  data.tokens = reader.texts("tokens");
  data.merges = reader.texts("merges");
  if (const GgufValue* scores = reader.find("scores"))
    for (const double score : scores->as_doubles(reader.name("scores")))
      data.scores.push_back(static_cast<float>(score));
  if (const GgufValue* types = reader.find("token_type"))
    for (const std::int64_t type : types->as_ints(reader.name("token_type")))
      data.token_types.push_back(static_cast<std::int32_t>(type));
  data.bos_id = reader.id("bos_token_id");
  data.eos_id = reader.id("eos_token_id");
  data.unk_id = reader.id("unknown_token_id");
  data.pad_id = reader.id("padding_token_id");
  data.sep_id = reader.id("seperator_token_id");  // the format's own spelling
  data.add_bos = reader.flag("add_bos_token");
  data.add_eos = reader.flag("add_eos_token");
  data.add_space_prefix = reader.flag("add_space_prefix");
  data.remove_extra_whitespaces = reader.flag("remove_extra_whitespaces");
  if (const GgufValue* charsmap = reader.find("precompiled_charsmap"))
    data.precompiled_charsmap = charsmap->as_array(reader.name("precompiled_charsmap")).scalars;
  return data;
}

}  // namespace tenon
