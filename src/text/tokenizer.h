// Text to token ids and back: the one face of every kind of tokenizer.
// Immutable after loading; all const members may be called from many threads at once.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

class DecoderRun;
struct GgufTokenizerData;

class Tokenizer {
 public:
  struct Parts;  // what a loader puts together (tokenizer_parts.h)

  /// Hugging Face's tokenizer.json. `where` names the source in errors.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json,
                                                    std::string_view where);
  /// SentencePiece's tokenizer.model.
  static std::shared_ptr<const Tokenizer> from_sentencepiece(std::span<const std::byte> model,
                                                             std::string_view where);
  static std::shared_ptr<const Tokenizer> from_gguf(const GgufTokenizerData& data);
  /// The first of tokenizer.json, tokenizer_gguf.json, tokenizer.model in a directory, with what
  /// tokenizer_config.json and special_tokens_map.json say of beginning and end of text.
  static std::shared_ptr<const Tokenizer> load_directory(const std::filesystem::path& directory);

  explicit Tokenizer(Parts parts);
  ~Tokenizer();

  /// Invalid UTF-8 counts as U+FFFD. With `add_special_tokens`, what the tokenizer puts around a
  /// text (such as <s>). With `parse_special`, special tokens written in the text become
  /// themselves; without, they are text like any other.
  std::vector<std::int32_t> encode(std::string_view text, bool add_special_tokens = true,
                                   bool parse_special = true) const;

  /// Valid UTF-8. Ids that are unknown are left out. Negative ids, too.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  std::int32_t vocab_size() const;                ///< one more than the highest id
  std::string token_text(std::int32_t id) const;  ///< the raw piece, "" where there is none
  std::optional<std::int32_t> token_id(std::string_view piece) const;
  bool is_special(std::int32_t id) const;

  std::optional<std::int32_t> bos_id() const;
  std::optional<std::int32_t> eos_id() const;
  std::optional<std::int32_t> pad_id() const;
  std::optional<std::int32_t> unk_id() const;

 private:
  friend class StreamDecoder;
  /// Feeds one id to a decoder; what is left out feeds nothing.
  void decode_one(std::int32_t id, bool skip_special_tokens, DecoderRun& run) const;
  void encode_text(std::string_view text, bool starts_original,
                   std::vector<std::int32_t>& out) const;
  std::unique_ptr<const Parts> parts_;
};

}  // namespace tenon
