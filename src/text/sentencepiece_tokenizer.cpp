// SPDX-License-Identifier: Apache-2.0
#include "core/check.h"
#include "text/tokenizer_loaders.h"

namespace tenon {

Tokenizer::Parts parts_from_sentencepiece(std::span<const std::byte>, std::string_view where) {
  fail(ErrorCode::kUnsupported, "{}: not supported yet", where);
}

std::shared_ptr<const Tokenizer> Tokenizer::from_sentencepiece(std::span<const std::byte> model,
                                                               std::string_view where) {
  return std::make_shared<const Tokenizer>(parts_from_sentencepiece(model, where));
}

}  // namespace tenon
