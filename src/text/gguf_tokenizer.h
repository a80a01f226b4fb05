// The tokenizer that a GGUF file carries in its metadata, as plain data, and its JSON form, which
// an engine directory keeps under kGgufTokenizerFile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

inline constexpr const char* kGgufTokenizerFile = "tokenizer_gguf.json";

/// Members are named after the keys under "tokenizer.ggml."; absent keys are empty.
struct GgufTokenizerData {
  /// "model": gpt2 (byte-level BPE), llama (SentencePiece BPE), t5 (unigram) or bert (WordPiece).
  std::string model;
  std::string pre;                        ///< how gpt2 cuts text: "llama-bpe", "qwen2", …
  std::vector<std::string> tokens;        ///< the position is the id
  std::vector<float> scores;              ///< as many as tokens, or none
  std::vector<std::int32_t> token_types;  ///< 1 normal 2 unknown 3 control 4 user 5 unused 6 byte
  std::vector<std::string> merges;        ///< "left right"
  std::optional<std::int32_t> bos_id, eos_id, unk_id, pad_id, sep_id;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::string precompiled_charsmap;      ///< bytes
  std::string where = "GGUF tokenizer";  ///< names the source in errors

  bool operator==(const GgufTokenizerData&) const = default;
};

std::string gguf_tokenizer_to_json(const GgufTokenizerData& data);
GgufTokenizerData gguf_tokenizer_from_json(std::string_view json, std::string_view where);

/// One kind of "pre": the patterns that cut the text, each within the pieces of the one before.
struct GgufPreType {
  std::vector<const char*> patterns;
  bool ignore_merges = false;
  bool nfc = false;      // the family's own tokenizer normalizes so
  bool add_bos = false;  // where the file does not say
};

/// Throws Error{kUnsupported} naming an unknown `pre`.
GgufPreType gguf_pre_type(std::string_view pre, std::string_view where);

}  // namespace tenon
