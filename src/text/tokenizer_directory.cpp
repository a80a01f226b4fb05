// Finds the tokenizer of a model or engine directory and what its small files say of it.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "text/json_fields.h"
#include "text/tokenizer_loaders.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

Json read_json(const fs::path& path) {
  return fs::exists(path) ? Json::parse(read_file(path), path.string()) : Json::object();
}

/// A token in tokenizer_config.json: its text, or an object with the text.
std::optional<std::string> token_text_of(const Json& config, const char* key) {
  const Json* const field = find_field(config, key);
  if (field == nullptr) return std::nullopt;
  if (field->is_object()) return field->at("content", key).as_string(key);
  return field->as_string(key);
}

/// Classes whose add_bos_token and add_eos_token decide over what tokenizer.json says.
bool flags_decide(const std::string& tokenizer_class) {
  constexpr const char* kClasses[] = {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer",
                                      "CohereTokenizer"};
  return std::any_of(std::begin(kClasses), std::end(kClasses),
                     [&](const char* name) { return tokenizer_class.starts_with(name); });
}

void amend(Tokenizer::Parts& parts, const Json& config, const Json& map, bool sentencepiece) {
  const auto id_of = [&](const char* key) -> std::optional<std::int32_t> {
    std::optional<std::string> text = token_text_of(config, key);
    if (!text) text = token_text_of(map, key);
    if (!text) return std::nullopt;
    std::int32_t id = parts.added.id_of(*text);
    if (id < 0) id = parts.model->vocabulary().find(*text);
    return id < 0 ? std::nullopt : std::optional<std::int32_t>(id);
  };
  if (const auto id = id_of("bos_token")) parts.bos = id;
  if (const auto id = id_of("eos_token")) parts.eos = id;
  if (const auto id = id_of("pad_token")) parts.pad = id;
  if (const auto id = id_of("unk_token")) parts.unk = id;
  const Json* const add_bos = find_field(config, "add_bos_token");
  const Json* const add_eos = find_field(config, "add_eos_token");
  const std::string tokenizer_class = string_field(config, "tokenizer_class", "");
  if (!sentencepiece && !flags_decide(tokenizer_class)) return;
  PostProcessor& around = parts.post_processor;
  if (add_bos != nullptr) {
    around.prefix.clear();
    if (add_bos->as_bool("add_bos_token") && parts.bos) around.prefix = {*parts.bos};
  }
  if (add_eos != nullptr) {
    around.suffix.clear();
    if (add_eos->as_bool("add_eos_token") && parts.eos) around.suffix = {*parts.eos};
  } else if (sentencepiece && tokenizer_class.starts_with("T5") && parts.eos) {
    around.prefix.clear();
    around.suffix = {*parts.eos};
  }
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load_directory(const fs::path& directory) {
  const Json config = read_json(directory / "tokenizer_config.json");
  const Json map = read_json(directory / "special_tokens_map.json");
  Parts parts;
  if (const fs::path path = directory / "tokenizer.json"; fs::exists(path)) {
    parts = parts_from_json(read_file(path), path.string());
    amend(parts, config, map, false);
  } else if (const fs::path gguf = directory / kGgufTokenizerFile; fs::exists(gguf)) {
    parts = parts_from_gguf(gguf_tokenizer_from_json(read_file(gguf), gguf.string()));
  } else if (const fs::path model = directory / "tokenizer.model"; fs::exists(model)) {
    const std::string bytes = read_file(model);
    parts = parts_from_sentencepiece(std::as_bytes(std::span(bytes)), model.string());
    amend(parts, config, map, true);
  } else {
    fail(ErrorCode::kNotFound, "{}: no tokenizer.json, {} or tokenizer.model", directory.string(),
         kGgufTokenizerFile);
  }
  return std::make_shared<const Tokenizer>(std::move(parts));
}

}  // namespace tenon
