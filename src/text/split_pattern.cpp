// SPDX-License-Identifier: Apache-2.0
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/split_pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <limits>

#include "core/check.h"
#include "text/pattern_translator.h"
#include "text/unicode.h"

namespace tenon {
namespace {

// Far beyond what a tokenizer's pattern needs on any text, near enough to end in about a second.
constexpr std::uint32_t kMatchLimit = 100'000'000;
constexpr std::uint32_t kHeapLimitKiB = 256 << 10;

/// What one thread needs to match: PCRE2's working memory and the text as classes.
struct Scratch {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 32 << 20, nullptr);
  std::string classes;
  std::vector<std::uint32_t> offsets;  // byte offset of each character, empty for ASCII text

  Scratch() {
    TENON_CHECK(data != nullptr && context != nullptr && stack != nullptr,
                ErrorCode::kResourceExhausted, "[tokenizer] no memory for matching");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Scratch() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

Scratch& scratch() {
  thread_local Scratch mine;
  return mine;
}

void to_classes(std::string_view text, const ClassAlphabet& alphabet, Scratch& out) {
  TENON_CHECK(text.size() < std::numeric_limits<std::uint32_t>::max(), ErrorCode::kInvalidArgument,
              "[tokenizer] a text of {} bytes, expected less than 4 GiB", text.size());
  out.classes.resize(text.size());
  out.offsets.clear();
  const std::uint8_t* const ascii = alphabet.ascii();
  std::size_t i = 0;
  while (i < text.size() && static_cast<signed char>(text[i]) >= 0) {
    out.classes[i] = static_cast<char>(ascii[static_cast<unsigned char>(text[i])]);
    ++i;
  }
  if (i == text.size()) return;
  out.offsets.resize(text.size() + 1);
  for (std::size_t k = 0; k < i; ++k) out.offsets[k] = static_cast<std::uint32_t>(k);
  std::size_t n = i;
  const char* p = text.data() + i;
  const char* const end = text.data() + text.size();
  while (p < end) {
    out.offsets[n] = static_cast<std::uint32_t>(p - text.data());
    out.classes[n++] = static_cast<char>(alphabet.class_of(next_code_point(p)));
  }
  out.offsets[n] = static_cast<std::uint32_t>(text.size());
  out.offsets.resize(n + 1);
  out.classes.resize(n);
}

/// Runs of white space up to the last place in them where a line ends: what \s+$ finds, in linear
/// time (a backtracking matcher tries every run anew from each of its characters).
void find_line_end_spaces(std::string_view text, const CodePointBitmap& space,
                          std::vector<TextRange>& out) {
  const char* p = text.data();
  const char* const end = p + text.size();
  const auto offset = [&](const char* at) { return static_cast<std::size_t>(at - text.data()); };
  while (p < end) {
    const char* begin = p;
    if (!space.contains(next_code_point(p))) continue;
    const char* line_end = nullptr;  // the last one in the run, behind at least one character
    for (;;) {
      if (p == end || *p == '\n') line_end = p;
      if (p == end) break;
      const char* const before = p;
      if (!space.contains(next_code_point(p))) {
        p = before;
        break;
      }
    }
    if (line_end == nullptr) continue;
    out.push_back({offset(begin), offset(line_end)});
    p = line_end;  // what follows in the run may match again only at a line end further on: none
    while (p < end) {
      const char* const before = p;
      if (!space.contains(next_code_point(p))) {
        p = before;
        break;
      }
    }
  }
}

}  // namespace

struct SplitPattern::Impl {
  enum class Kind { kLiteral, kLineEndSpaces, kRegex } kind = Kind::kRegex;
  std::string literal;
  std::unique_ptr<const CodePointBitmap> space;
  ClassAlphabet alphabet;
  pcre2_code* code = nullptr;
  bool compiled = false;  // to machine code

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { pcre2_code_free(code); }

  void find_literal(std::string_view text, std::vector<TextRange>& out) const {
    for (std::size_t at = text.find(literal); at != std::string_view::npos;
         at = text.find(literal, at + literal.size()))
      out.push_back({at, at + literal.size()});
  }

  void find_regex(std::string_view text, std::vector<TextRange>& out) const {
    Scratch& work = scratch();
    to_classes(text, alphabet, work);
    const auto offset = [&](std::size_t i) { return work.offsets.empty() ? i : work.offsets[i]; };
    const auto* const subject = reinterpret_cast<PCRE2_SPTR>(work.classes.data());
    const std::size_t length = work.classes.size();
    const PCRE2_SIZE* const found = pcre2_get_ovector_pointer(work.data);
    std::size_t at = 0, last_end = std::numeric_limits<std::size_t>::max();
    while (at <= length) {
      const int rc = compiled
                         ? pcre2_jit_match(code, subject, length, at, 0, work.data, work.context)
                         : pcre2_match(code, subject, length, at, 0, work.data, work.context);
      if (rc == PCRE2_ERROR_NOMATCH) break;
      TENON_CHECK(rc >= 0, ErrorCode::kResourceExhausted,
                  "[tokenizer] splitting the text takes more work than allowed (PCRE2 error {})",
                  rc);
      const std::size_t begin = found[0], end = found[1];
      if (begin == end && end == last_end) {  // an empty match right behind a match does not count
        at = end + 1;
        continue;
      }
      at = last_end = end;
      out.push_back({offset(begin), offset(end)});
    }
  }
};

SplitPattern::SplitPattern(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

SplitPattern SplitPattern::literal(std::string_view text) {
  if (text.empty()) return regex("", "literal");
  auto impl = std::make_unique<Impl>();
  impl->kind = Impl::Kind::kLiteral;
  impl->literal = text;
  return SplitPattern(std::move(impl));
}

SplitPattern SplitPattern::regex(std::string_view oniguruma, std::string_view where) {
  auto impl = std::make_unique<Impl>();
  if (oniguruma == "\\s+$") {
    impl->kind = Impl::Kind::kLineEndSpaces;
    impl->space = std::make_unique<CodePointBitmap>(*unicode::regex_property("space"));
    return SplitPattern(std::move(impl));
  }
  TranslatedPattern translated = translate_pattern(oniguruma, where);
  impl->alphabet = std::move(translated.alphabet);
  int error = 0;
  PCRE2_SIZE error_at = 0;
  impl->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.pcre2.data()),
                             translated.pcre2.size(), 0, &error, &error_at, nullptr);
  if (impl->code == nullptr) {
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(error, message, sizeof(message));
    fail(ErrorCode::kCorrupt, "{}: regular expression \"{}\": {}", where, oniguruma,
         reinterpret_cast<const char*>(message));
  }
  impl->compiled = pcre2_jit_compile(impl->code, PCRE2_JIT_COMPLETE) == 0;
  return SplitPattern(std::move(impl));
}

void SplitPattern::find_all(std::string_view text, std::vector<TextRange>& out) const {
  out.clear();
  if (text.empty()) return;
  switch (impl_->kind) {
    case Impl::Kind::kLiteral: impl_->find_literal(text, out); break;
    case Impl::Kind::kLineEndSpaces: find_line_end_spaces(text, *impl_->space, out); break;
    case Impl::Kind::kRegex: impl_->find_regex(text, out); break;
  }
}

}  // namespace tenon
