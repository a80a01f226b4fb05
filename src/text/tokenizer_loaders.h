// The loaders as functions that give the parts, so that a directory's further files can amend them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "text/gguf_tokenizer.h"
#include "text/tokenizer_parts.h"

namespace tenon {

Tokenizer::Parts parts_from_json(std::string_view tokenizer_json, std::string_view where);
Tokenizer::Parts parts_from_sentencepiece(std::span<const std::byte> model, std::string_view where);
Tokenizer::Parts parts_from_gguf(const GgufTokenizerData& data);

}  // namespace tenon
