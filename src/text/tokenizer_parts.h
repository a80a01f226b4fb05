// What a Tokenizer is made of. Loaders fill it in; nobody else includes it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_map>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/token_model.h"
#include "text/tokenizer.h"

namespace tenon {

struct Tokenizer::Parts {
  std::unique_ptr<const Normalizer> normalizer;  // none: text stays as it is
  PreTokenizerChain pre_tokenizer;
  std::unique_ptr<const TokenModel> model;
  AddedTokens added;
  PostProcessor post_processor;
  DecoderChain decoder;
  std::unordered_map<std::int32_t, std::string> decoder_text;  // where decoding sees another text
  std::optional<std::int32_t> bos, eos, pad, unk;
};

}  // namespace tenon
