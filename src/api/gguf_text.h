// The tokenizer that a GGUF file's metadata describes, as the text folder takes it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "checkpoint/gguf_value.h"
#include "text/gguf_tokenizer.h"

namespace tenon {

/// Nothing where the file has no tokenizer ("tokenizer.ggml.model" missing or "none").
std::optional<GgufTokenizerData> gguf_tokenizer(const GgufMetadata& metadata,
                                                const std::string& where);

}  // namespace tenon
