// SPDX-License-Identifier: Apache-2.0
#include "api/text_assets.h"

#include <stdlib.h>

#include <algorithm>
#include <cmath>

#include "api/gguf_text.h"
#include "checkpoint/checkpoint_directory.h"
#include "core/check.h"
#include "core/file.h"
#include "text/gguf_tokenizer.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

void add_end(std::vector<std::int32_t>& ends, std::int64_t id, const PretrainedConfig& config) {
  if (id < 0 || id >= config.vocab_size) return;
  const auto end = static_cast<std::int32_t>(id);
  if (std::find(ends.begin(), ends.end(), end) == ends.end()) ends.push_back(end);
}

/// generation_config.json in Hugging Face's meaning: greedy unless do_sample.
void read_generation_config(const fs::path& path, const PretrainedConfig& config,
                            TextAssets& assets) {
  const std::string where = path.string();
  const Json json = Json::parse(read_file(path), where);
  json.as_object(where);
  const std::string eos_name = where + ": eos_token_id";
  if (const Json* eos = json.find("eos_token_id"); eos != nullptr && !eos->is_null()) {
    if (eos->is_array())
      for (const Json& id : eos->as_array(eos_name))
        add_end(assets.end_ids, id.as_int(eos_name), config);
    else
      add_end(assets.end_ids, eos->as_int(eos_name), config);
  }
  const auto number = [&](const char* key, double fallback) {
    const Json* value = json.find(key);
    if (value == nullptr || value->is_null()) return fallback;
    const double given = value->as_double(where + ": " + key);
    TENON_CHECK(std::fabs(given) <= 1e9, ErrorCode::kCorrupt, "{}: {} is {}, out of range", where,
                key, given);
    return given;
  };
  assets.sampling.repetition_penalty = static_cast<float>(number("repetition_penalty", 1.0));
  const Json* sample = json.find("do_sample");
  if (sample != nullptr && !sample->is_null() && sample->as_bool(where + ": do_sample")) {
    assets.sampling.temperature = static_cast<float>(number("temperature", 1.0));
    assets.sampling.top_k = static_cast<std::int32_t>(number("top_k", 50));
    assets.sampling.top_p = static_cast<float>(number("top_p", 1.0));
    assets.sampling.min_p = static_cast<float>(number("min_p", 0.0));
  }
  try {
    validate(assets.sampling);
  } catch (const Error& error) {
    throw Error(ErrorCode::kCorrupt, where + ": " + error.what());
  }
}

bool has_tokenizer(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", kGgufTokenizerFile})
    if (fs::exists(directory / name)) return true;
  return false;
}

}  // namespace

TextAssets load_text_assets(const fs::path& directory, const PretrainedConfig& config,
                            const std::string& template_override) {
  TextAssets assets;
  assets.sampling.temperature = 0.0F;
  if (directory.empty()) return assets;
  if (has_tokenizer(directory)) {
    assets.tokenizer = Tokenizer::load_directory(directory);
    TENON_CHECK(assets.tokenizer->vocab_size() <= config.vocab_size + (1 << 16),
                ErrorCode::kCorrupt, "{}: the tokenizer has {} ids, the model {}",
                directory.string(), assets.tokenizer->vocab_size(), config.vocab_size);
  }
  if (!template_override.empty())
    assets.chat_template = ChatTemplate::parse(template_override, "the given chat template");
  else if (auto text = find_chat_template(directory))
    assets.chat_template = ChatTemplate::parse(std::move(*text), directory.string());
  for (const std::int64_t id : config.eos_token_ids) add_end(assets.end_ids, id, config);
  if (fs::exists(directory / "generation_config.json"))
    read_generation_config(directory / "generation_config.json", config, assets);
  if (assets.tokenizer && assets.tokenizer->eos_id())
    add_end(assets.end_ids, *assets.tokenizer->eos_id(), config);
  return assets;
}

void write_text_files(const ModelSource& source, const fs::path& directory, Manifest& manifest) {
  if (!source.text_directory.empty()) copy_text_files(source.text_directory, directory, manifest);
  if (source.gguf == nullptr) return;
  if (const auto tokenizer = gguf_tokenizer(*source.gguf, source.name)) {
    write_file_atomically(directory / kGgufTokenizerFile, gguf_tokenizer_to_json(*tokenizer));
    add_file(manifest, directory, kGgufTokenizerFile);
  }
  if (const GgufValue* text = source.gguf->find("tokenizer.chat_template")) {
    write_file_atomically(directory / "chat_template.jinja",
                          text->as_string("tokenizer.chat_template"));
    add_file(manifest, directory, "chat_template.jinja");
  }
}

StagedTextDirectory::StagedTextDirectory(const ModelSource& source) {
  std::string name = (fs::temp_directory_path() / "tenon-text-XXXXXX").string();
  TENON_CHECK(::mkdtemp(name.data()) != nullptr, ErrorCode::kIo,
              "{}: cannot make a temporary directory", name);
  path_ = name;
  Manifest unused;
  write_text_files(source, path_, unused);
}

StagedTextDirectory::~StagedTextDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace tenon
