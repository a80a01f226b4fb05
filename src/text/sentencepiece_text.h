// SentencePiece's way with text around its models: the normalizer before, the decoder behind.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/sentencepiece_model.h"

namespace tenon {

/// `protected_pieces` (user-defined ones) go through normalization as they are.
std::unique_ptr<const Normalizer> make_sentencepiece_normalizer(
    const SentencePieceNormalization& options, const std::vector<std::string>& protected_pieces,
    std::string_view where);

/// `strip_first`: the space that normalization put in front goes; `strip_all`: and any that follow.
std::unique_ptr<const Decoder> make_sentencepiece_decoder(bool strip_first, bool strip_all);

}  // namespace tenon
