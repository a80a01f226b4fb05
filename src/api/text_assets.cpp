// SPDX-License-Identifier: Apache-2.0
#include "api/text_assets.h"

#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "api/generation_config.h"
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

bool has_tokenizer(const fs::path& directory) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", kGgufTokenizerFile})
    if (fs::exists(directory / name)) return true;
  return false;
}

}  // namespace

TextAssets load_text_assets(const fs::path& directory, const PretrainedConfig& config,
                            const std::string& template_override) {
  TextAssets assets;
  assets.sampling = default_generation().sampling;
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
  if (const fs::path file = directory / "generation_config.json"; fs::exists(file)) {
    GenerationConfig generation = read_generation_config(file, config.vocab_size);
    for (const std::int32_t id : generation.end_ids) add_end(assets.end_ids, id, config);
    assets.sampling = std::move(generation.sampling);
  }
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
