// The kinds of GGUF tokenizer beside byte-level BPE; each fills in normalizer, model and decoder.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "text/gguf_tokenizer.h"
#include "text/tokenizer_parts.h"

namespace tenon {

void make_gguf_sentencepiece(const GgufTokenizerData& data, Tokenizer::Parts& parts);
void make_gguf_unigram(const GgufTokenizerData& data, Tokenizer::Parts& parts);
void make_gguf_wordpiece(const GgufTokenizerData& data, Tokenizer::Parts& parts);

}  // namespace tenon
