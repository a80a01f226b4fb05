// Character properties, lower case and normalization forms, from the oracle's own tables.
// All arguments are valid UTF-8 or code points; all functions are thread-safe.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/code_points.h"

namespace tenon::unicode {

const CodePointBitmap& white_space();     ///< White_Space
const CodePointBitmap& word();            ///< \w of added tokens and of the Whitespace splitter
const CodePointBitmap& numeric();         ///< category N
const CodePointBitmap& punctuation();     ///< ASCII punctuation and (old) category P
const CodePointBitmap& combining_mark();  ///< what StripAccents removes
const CodePointBitmap& bert_control();    ///< what BertNormalizer's clean_text removes
const CodePointBitmap& bert_accent();     ///< what BertNormalizer's strip_accents removes

/// The set of \p{name} in a pre-tokenizer's regular expression: a general category ("L", "Lu",
/// "Letter") or a script ("Han"); also "space", "word", "digit". Empty where the name is unknown.
std::optional<CodePointSet> regex_property(std::string_view name);

std::string lower_case(std::string_view text);

enum class Form { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, Form form);

}  // namespace tenon::unicode
