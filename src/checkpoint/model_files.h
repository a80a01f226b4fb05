// What a user may name as a model, and what is found there: a Hugging Face directory or id, a GGUF
// file or a directory holding one, PyTorch files, or a directory that Tenon wrote.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/gguf_value.h"
#include "checkpoint/tensor_source.h"
#include "core/json.h"

namespace tenon {

enum class ModelKind : std::uint8_t {
  kHuggingFace,  ///< config.json and safetensors or PyTorch files
  kGguf,
  kTenonCheckpoint,  ///< what `tenon convert` writes; checkpoint_directory.h opens it
};

const char* to_string(ModelKind kind) noexcept;

struct ModelFiles {
  ModelKind kind = ModelKind::kHuggingFace;
  std::filesystem::path directory;
  std::vector<std::filesystem::path> weight_files;
  std::optional<Json> config;             ///< config.json
  std::optional<Json> generation_config;  ///< generation_config.json
  std::optional<GgufMetadata> gguf;
  std::unique_ptr<TensorSource> tensors;
};

/// `path_or_id`: a directory, a file (.gguf, .safetensors, .bin, .pt), or a Hugging Face id
/// ("org/name") in a local cache. Nothing is downloaded. In a directory safetensors come before
/// .bin, .bin before .pt, and those before a GGUF file. Throws Error{kNotFound} listing where it
/// looked, or Error{kCorrupt} listing everything that an index promises and the files lack.
ModelFiles open_model(std::string_view path_or_id);

/// The directory of a Hugging Face id in the local caches ($HF_HUB_CACHE, $HF_HOME/hub,
/// ~/.cache/huggingface/hub), revision main or else the newest; appends each place it looked to
/// `looked`. Empty where there is none, or where `id` is no id.
std::filesystem::path find_in_hub_cache(std::string_view id,
                                        std::vector<std::filesystem::path>& looked);

}  // namespace tenon
