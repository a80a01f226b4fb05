// What an engine directory says in text: tokenizer, chat template, sampling defaults, ends.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "api/model_source.h"
#include "checkpoint/manifest.h"
#include "tenon/sampling.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tenon {

struct TextAssets {
  std::shared_ptr<const Tokenizer> tokenizer;         ///< null: the directory has none
  std::shared_ptr<const ChatTemplate> chat_template;  ///< null: the directory has none
  SamplingParams sampling;                            ///< generation_config.json's; else greedy
  std::vector<std::int32_t> end_ids;
};

/// `template_override` is a template's text; empty: the model's own.
TextAssets load_text_assets(const std::filesystem::path& directory, const PretrainedConfig& config,
                            const std::string& template_override = {});

/// Copies a model's text files into a checkpoint or engine directory, or writes those that a GGUF
/// file holds in its metadata.
void write_text_files(const ModelSource& source, const std::filesystem::path& directory,
                      Manifest& manifest);

/// A temporary directory with the text files of a model that was not written anywhere.
class StagedTextDirectory {
 public:
  explicit StagedTextDirectory(const ModelSource& source);
  ~StagedTextDirectory();
  StagedTextDirectory(const StagedTextDirectory&) = delete;
  StagedTextDirectory& operator=(const StagedTextDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace tenon
