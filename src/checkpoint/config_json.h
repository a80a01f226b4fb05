// PretrainedConfig and BuildConfig as JSON, for checkpoint and engine files: every field under its
// own name, every field both ways. An unknown key is an error with the nearest known name.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "core/json.h"
#include "tenon/config.h"

namespace tenon {

/// Most layers that any config may claim; readers check it before they make lists of that length.
inline constexpr std::int64_t kMaxLayers = 4096;

Json to_json(const PretrainedConfig& config);
Json to_json(const BuildConfig& config);

/// Keys that are missing keep their defaults; the result is checked by check_config. Throws
/// Error{kCorrupt} naming `where` and the key: unknown, of another kind, out of range.
PretrainedConfig pretrained_config_from_json(const Json& json, std::string_view where);
BuildConfig build_config_from_json(const Json& json, std::string_view where);

/// The object "quantization" of a config.json. Throws as the others do.
QuantConfig quant_config_from_json(const Json& json, std::string_view where);

/// What a model's graph relies on: sizes positive and bounded, kv heads dividing heads, rotary
/// features even, one window per layer. Throws Error{kCorrupt} naming `where` and the field.
void check_config(const PretrainedConfig& config, std::string_view where);

/// Sizes bounded. Throws Error{kCorrupt} naming `where` and the field.
void check_config(const QuantConfig& config, std::string_view where);

/// Limits positive, names known. Throws Error{kInvalidArgument} naming the field.
void check_config(const BuildConfig& config);

/// Inverse of to_string. Throws Error{kCorrupt} naming `where` with the nearest name.
PositionEmbeddingType parse_position_embedding_type(std::string_view name, std::string_view where);

}  // namespace tenon
