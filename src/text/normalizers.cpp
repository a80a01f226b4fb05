// The normalizers of tokenizer.json, one small class each, and the function that makes them.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "core/check.h"
#include "core/utf8.h"
#include "text/base64.h"
#include "text/bert_normalizer.h"
#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/precompiled_charsmap.h"
#include "text/replacer.h"
#include "text/unicode.h"

namespace tenon {
namespace {

class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(unicode::Form form) : form_(form) {}
  void apply(NormalizedText& text) const override {
    text.text = unicode::normalize(text.text, form_);
  }

 private:
  unicode::Form form_;
};

class Lowercase : public Normalizer {
 public:
  void apply(NormalizedText& text) const override { text.text = unicode::lower_case(text.text); }
};

class Replace : public Normalizer {
 public:
  explicit Replace(Replacer replacer) : replacer_(std::move(replacer)) {}
  void apply(NormalizedText& text) const override {
    bool front = false;
    text.text = replacer_.replace(text.text, &front);
    text.front_removed |= front;
  }

 private:
  Replacer replacer_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalizedText& text) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& text) const override {
    const CodePointBitmap& space = unicode::white_space();
    std::size_t begin = std::string::npos, end = 0;  // of what is no white space
    for_each_code_point(text.text, [&](char32_t c, std::size_t at, std::size_t length) {
      if (space.contains(c)) return;
      if (begin == std::string::npos) begin = at;
      end = at + length;
    });
    if (begin == std::string::npos) begin = text.text.size();
    if (right_) text.text.resize(left_ ? std::max(begin, end) : end);
    if (left_ && begin > 0) {
      text.text.erase(0, begin);
      text.front_removed = true;
    }
  }

 private:
  bool left_, right_;
};

/// Removes the code points of one set and maps others, character by character.
template <class Map>
void filter(NormalizedText& text, const Map& map) {
  std::string out;
  out.reserve(text.text.size());
  for_each_code_point(text.text, [&](char32_t c, std::size_t at, std::size_t) {
    const char32_t mapped = map(c);
    if (mapped != 0 || c == 0)
      utf8::append(out, mapped);
    else if (at == 0)
      text.front_removed = true;
  });
  text.text = std::move(out);
}

class StripAccents : public Normalizer {
 public:
  void apply(NormalizedText& text) const override {
    const CodePointBitmap& marks = unicode::combining_mark();
    filter(text, [&](char32_t c) { return marks.contains(c) ? 0 : c; });
  }
};

/// The character clean-up of machine translation data (SentencePiece's "nmt" rules).
class Nmt : public Normalizer {
 public:
  void apply(NormalizedText& text) const override {
    filter(text, [](char32_t c) -> char32_t {
      if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
          c == 0x9F)
        return 0;
      if (c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
          (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
          c == 0xFEFF || c == 0xFFFD)
        return U' ';
      return c;
    });
  }
};

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(PrecompiledCharsmap rules) : rules_(std::move(rules)) {}
  void apply(NormalizedText& text) const override {
    text.text = normalize_graphemes(rules_, text.text);
  }

 private:
  PrecompiledCharsmap rules_;
};

class ByteLevelNormalizer : public Normalizer {
 public:
  void apply(NormalizedText& text) const override { text.text = to_byte_level(text.text); }
};

class Bert : public Normalizer {
 public:
  explicit Bert(BertNormalizerOptions options) : options_(options) {}
  void apply(NormalizedText& text) const override {
    text.text = bert_normalize(text.text, options_);
  }

 private:
  BertNormalizerOptions options_;
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const Normalizer>> steps)
      : steps_(std::move(steps)) {}
  void apply(NormalizedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

std::unique_ptr<const Normalizer> make_bert(const Json& json) {
  BertNormalizerOptions options;
  options.clean_text = bool_field(json, "clean_text", true);
  options.handle_chinese_chars = bool_field(json, "handle_chinese_chars", true);
  options.lowercase = bool_field(json, "lowercase", true);
  options.strip_accents = bool_field(json, "strip_accents", options.lowercase);
  return std::make_unique<Bert>(options);
}

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer(const Json& json, std::string_view where) {
  using unicode::Form;
  const std::string& type = type_of(json, where);
  if (type == "NFC") return std::make_unique<UnicodeForm>(Form::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeForm>(Form::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(Form::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(Form::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "BertNormalizer") return make_bert(json);
  if (type == "Replace") return std::make_unique<Replace>(make_replacer(json, where));
  if (type == "Prepend")
    return std::make_unique<Prepend>(json.at("prepend", where).as_string("prepend"));
  if (type == "Strip")
    return std::make_unique<Strip>(bool_field(json, "strip_left", true),
                                   bool_field(json, "strip_right", true));
  if (type == "Precompiled") {
    const Json* const blob = find_field(json, "precompiled_charsmap");
    const std::string bytes =
        blob == nullptr ? "" : decode_base64(blob->as_string("precompiled_charsmap"), where);
    return std::make_unique<Precompiled>(PrecompiledCharsmap(bytes, where));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<const Normalizer>> steps;
    for (const Json& step : json.at("normalizers", where).as_array("normalizers"))
      steps.push_back(make_normalizer(step, where));
    return std::make_unique<Sequence>(std::move(steps));
  }
  fail(ErrorCode::kUnsupported, "{}: normalizer type \"{}\" is not known", where, type);
}

}  // namespace tenon
