// SPDX-License-Identifier: Apache-2.0
#include "text/gguf_models.h"

#include "core/check.h"

namespace tenon {

void make_gguf_sentencepiece(const GgufTokenizerData& data, Tokenizer::Parts&) {
  fail(ErrorCode::kUnsupported, "{}: model llama is not supported yet", data.where);
}
void make_gguf_unigram(const GgufTokenizerData& data, Tokenizer::Parts&) {
  fail(ErrorCode::kUnsupported, "{}: model t5 is not supported yet", data.where);
}
void make_gguf_wordpiece(const GgufTokenizerData& data, Tokenizer::Parts&) {
  fail(ErrorCode::kUnsupported, "{}: model bert is not supported yet", data.where);
}

}  // namespace tenon
