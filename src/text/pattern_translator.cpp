// SPDX-License-Identifier: Apache-2.0
#include "text/pattern_translator.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "core/check.h"
#include "core/utf8.h"
#include "text/unicode.h"

namespace tenon {
namespace {

constexpr std::size_t kMaxPatternLength = 64 << 10;
constexpr int kMaxDepth = 100;

/// One pass over the pattern. Structure goes through as it stands; every atom becomes a set.
class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where)
      : pattern_(utf8::to_utf32(pattern)), where_(where) {
    TENON_CHECK(pattern.size() <= kMaxPatternLength, ErrorCode::kCorrupt,
                "{}: a pattern of {} bytes, expected at most {}", where, pattern.size(),
                kMaxPatternLength);
  }

  TranslatedPattern run() {
    groups_.push_back({0, false, false});
    while (!done()) step();
    check(groups_.size() == 1, "an unclosed group");
    TranslatedPattern out;
    out.alphabet = ClassAlphabet(sets_, where_);
    for (const Item& item : items_) {
      if (item.set < 0)
        out.pcre2 += item.text;
      else
        append_class(out.alphabet.classes_of(static_cast<std::size_t>(item.set)), out.pcre2);
    }
    return out;
  }

 private:
  struct Item {
    std::string text;
    int set = -1;  // index into sets_, or text
  };
  struct Group {
    std::size_t begin;  // its first item
    bool ignore_case;
    bool dot_all;
  };

  bool done() const { return at_ >= pattern_.size(); }
  char32_t peek(std::size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : U'\0';
  }
  char32_t take() {
    check(!done(), "an end where more was expected");
    return pattern_[at_++];
  }
  bool accept(std::u32string_view text) {
    if (std::u32string_view(pattern_).substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  void check(bool condition, std::string_view what) const {
    TENON_CHECK(condition, ErrorCode::kCorrupt, "{}: regular expression \"{}\" has {} at {}",
                where_, utf8::from_utf32(pattern_), what, at_);
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorCode::kUnsupported, "{}: regular expression \"{}\" uses {}, not supported", where_,
         utf8::from_utf32(pattern_), what);
  }

  void text(std::string_view literal) { items_.push_back({std::string(literal), -1}); }
  int index_of(CodePointSet set) {
    const auto found = std::find(sets_.begin(), sets_.end(), set);
    if (found != sets_.end()) return static_cast<int>(found - sets_.begin());
    sets_.push_back(std::move(set));
    return static_cast<int>(sets_.size()) - 1;
  }
  void set_item(CodePointSet set) { items_.push_back({"", index_of(std::move(set))}); }
  void atom(CodePointSet set) {
    atom_begin_ = items_.size();
    set_item(groups_.back().ignore_case ? fold(set) : std::move(set));
  }

  /// The set with the case variants of its members.
  static CodePointSet fold(const CodePointSet& set) {
    CodePointSet out = set;
    namespace data = unicode_data;
    for (std::size_t i = 0; i < data::kLowerFrom_size; ++i) {
      const CodePointSet upper(data::kLowerFrom[i]), lower(data::kLowerTo[i]);
      if (data::kLowerFrom[i] == 0x130 || data::kLowerFrom[i] == 0x212A) continue;
      if (set.contains(data::kLowerFrom[i])) out = out | lower;
      if (set.contains(data::kLowerTo[i])) out = out | upper;
    }
    for (std::size_t i = 0; i < data::kAsciiFold_size; i += 2) {
      const char32_t letter = data::kAsciiFold[i], variant = data::kAsciiFold[i + 1];
      if (out.contains(letter) || set.contains(variant))
        out = out | CodePointSet(letter) | CodePointSet(letter - 32) | CodePointSet(variant);
    }
    return out;
  }

  void step() {
    const char32_t c = take();
    switch (c) {
      case U'(': open_group(); break;
      case U')': close_group(); break;
      case U'|':
        text("|");
        atom_begin_.reset();
        break;
      case U'[': atom(parse_class(0)); break;
      case U'.':
        atom(groups_.back().dot_all ? CodePointSet(U'\0', kMaxCodePoint) : ~CodePointSet(U'\n'));
        break;
      case U'^': line_begin(); break;
      case U'$': line_end(); break;
      case U'*':
      case U'+':
      case U'?': quantifier(std::string(1, static_cast<char>(c))); break;
      case U'{':
        if (!interval()) atom(CodePointSet(c));
        break;
      case U'\\': escape(); break;
      default: atom(CodePointSet(c));
    }
  }

  // --- groups ---
  void open_group() {
    const std::size_t begin = items_.size();
    Group group{begin, groups_.back().ignore_case, groups_.back().dot_all};
    std::string opening = "(?:";
    if (accept(U"?")) {
      if (accept(U"#")) {
        while (take() != U')') {
        }
        return;
      }
      if (accept(U":")) {
      } else if (accept(U"=")) {
        opening = "(?=";
      } else if (accept(U"!")) {
        opening = "(?!";
      } else if (accept(U"<=")) {
        opening = "(?<=";
      } else if (accept(U"<!")) {
        opening = "(?<!";
      } else if (accept(U">")) {
        opening = "(?>";
      } else if (accept(U"<")) {
        while (take() != U'>') {
        }
      } else if (!options(group)) {
        return;  // (?i) alone changes the group around it
      }
    }
    check(groups_.size() < kMaxDepth, "groups nested too deep");
    text(opening);
    groups_.push_back(group);
    atom_begin_.reset();
  }
  /// Reads "i-m:" or "i)"; false for the latter, whose options then hold for the enclosing group.
  bool options(Group& group) {
    bool value = true;
    for (;;) {
      const char32_t c = take();
      if (c == U'-')
        value = false;
      else if (c == U'i')
        group.ignore_case = value;
      else if (c == U'm')
        group.dot_all = value;
      else if (c == U':')
        return true;
      else if (c == U')') {
        groups_.back().ignore_case = group.ignore_case;
        groups_.back().dot_all = group.dot_all;
        return false;
      } else {
        unsupported("a group option");
      }
    }
  }
  void close_group() {
    check(groups_.size() > 1, "an unopened group");
    text(")");
    atom_begin_ = groups_.back().begin;
    groups_.pop_back();
  }

  // --- quantifiers ---
  void quantifier(std::string mark) {
    check(atom_begin_.has_value(), "a quantifier without an atom");
    if (accept(U"?"))
      mark += '?';
    else if (accept(U"+"))
      mark += '+';
    text(mark);
    atom_begin_.reset();
  }
  /// {n}, {n,}, {,m}, {n,m}; false where the brace is a plain character.
  bool interval() {
    const std::size_t begin = at_;
    std::string low, high;
    const auto digits = [&](std::string& out) {
      while (peek() >= U'0' && peek() <= U'9' && out.size() < 6) out += static_cast<char>(take());
    };
    digits(low);
    const bool comma = accept(U",");
    if (comma) digits(high);
    if (!accept(U"}") || (low.empty() && high.empty())) {
      at_ = begin;
      return false;
    }
    check(atom_begin_.has_value(), "a quantifier without an atom");
    if (low.empty()) low = "0";
    const std::string mark = "{" + low + (comma ? "," + high : "") + "}";
    // In this syntax a sign behind an interval repeats the whole; only {n,m}? is lazy.
    if (comma && accept(U"?")) {
      text(mark + "?");
      atom_begin_.reset();
    } else if (peek() == U'+' || peek() == U'?') {
      items_.insert(items_.begin() + static_cast<std::ptrdiff_t>(*atom_begin_), Item{"(?:", -1});
      text(mark + ")");
    } else {
      text(mark);
      atom_begin_.reset();
    }
    return true;
  }

  // --- anchors ---
  void line_begin() {  // after any newline but one that ends the text
    text("(?:\\A|(?<=");
    set_item(CodePointSet(U'\n'));
    text(")(?!\\z))");
    atom_begin_.reset();
  }
  void line_end() {
    text("(?:\\z|(?=");
    set_item(CodePointSet(U'\n'));
    text("))");
    atom_begin_.reset();
  }
  void word_border(bool negated) {
    const CodePointSet word = *unicode::regex_property("word");
    text(negated ? "(?:(?<=" : "(?:(?<=");
    set_item(word);
    text(negated ? ")(?=" : ")(?!");
    set_item(word);
    text(negated ? ")|(?<!" : ")|(?<!");
    set_item(word);
    text(negated ? ")(?!" : ")(?=");
    set_item(word);
    text("))");
    atom_begin_.reset();
  }

  // --- escapes ---
  void escape() {
    const char32_t c = peek();
    switch (c) {
      case U'A':
        ++at_;
        text("\\A");
        atom_begin_.reset();
        return;
      case U'z':
        ++at_;
        text("\\z");
        atom_begin_.reset();
        return;
      case U'Z':
        ++at_;
        text("(?=");
        set_item(CodePointSet(U'\n'));
        text("?\\z)");
        atom_begin_.reset();
        return;
      case U'b':
        ++at_;
        word_border(false);
        return;
      case U'B':
        ++at_;
        word_border(true);
        return;
      case U'O':
        ++at_;
        atom(CodePointSet(U'\0', kMaxCodePoint));
        return;
      case U'N':
        ++at_;
        atom(~CodePointSet(U'\n'));
        return;
      default: break;
    }
    if (c >= U'1' && c <= U'9') unsupported("a back reference");
    if (c == U'G' || c == U'K' || c == U'k' || c == U'g' || c == U'R' || c == U'X' || c == U'y' ||
        c == U'Y')
      unsupported(fmt::format("\\{}", static_cast<char>(c)));
    atom(escaped_set());
  }

  /// What stands behind a backslash as a set: a class, a property or one character.
  CodePointSet escaped_set() {
    const char32_t c = take();
    const auto named = [](const char* name, bool negated) {
      CodePointSet set = *unicode::regex_property(name);
      return negated ? ~set : set;
    };
    switch (c) {
      case U's': return named("space", false);
      case U'S': return named("space", true);
      case U'w': return named("word", false);
      case U'W': return named("word", true);
      case U'd': return named("digit", false);
      case U'D': return named("digit", true);
      case U'h':
      case U'H': {
        const CodePointSet hex =
            CodePointSet(U'0', U'9') | CodePointSet(U'A', U'F') | CodePointSet(U'a', U'f');
        return c == U'h' ? hex : ~hex;
      }
      case U'p':
      case U'P': return property(c == U'P');
      case U'n': return CodePointSet(U'\n');
      case U'r': return CodePointSet(U'\r');
      case U't': return CodePointSet(U'\t');
      case U'f': return CodePointSet(U'\f');
      case U'v': return CodePointSet(U'\v');
      case U'a': return CodePointSet(U'\a');
      case U'e': return CodePointSet(U'\x1B');
      case U'0': return CodePointSet(number(8, 2));
      case U'x':
        if (accept(U"{")) {
          const char32_t value = number(16, 8);
          check(accept(U"}"), "an unclosed \\x{");
          return CodePointSet(value);
        }
        return CodePointSet(number(16, 2));
      case U'u': return CodePointSet(number(16, 4));
      default: return CodePointSet(c);
    }
  }
  char32_t number(char32_t base, int max_digits) {
    char32_t value = 0;
    for (int i = 0; i < max_digits; ++i) {
      const char32_t c = peek();
      const char32_t digit = c >= U'0' && c <= U'9'   ? c - U'0'
                             : c >= U'a' && c <= U'f' ? c - U'a' + 10
                             : c >= U'A' && c <= U'F' ? c - U'A' + 10
                                                      : 99;
      if (digit >= base) break;
      value = value * base + digit;
      check(value <= kMaxCodePoint, "a character beyond U+10FFFF");
      ++at_;
    }
    return value;
  }
  CodePointSet property(bool negated) {
    check(accept(U"{"), "\\p without a name");
    if (accept(U"^")) negated = !negated;
    std::string name;
    for (char32_t c = take(); c != U'}'; c = take()) utf8::append(name, c);
    const std::optional<CodePointSet> set = unicode::regex_property(name);
    if (!set.has_value()) unsupported(fmt::format("the property \\p{{{}}}", name));
    return negated ? ~*set : *set;
  }

  // --- bracketed classes, which nest and intersect ---
  CodePointSet parse_class(int depth) {
    check(depth < kMaxDepth, "classes nested too deep");
    const bool negated = accept(U"^");
    CodePointSet set, left;
    bool intersect = false, first = true;
    const auto finish_operand = [&] {
      left = intersect ? left & set : set;
      set = {};
    };
    for (;; first = false) {
      if (accept(U"&&")) {
        finish_operand();
        intersect = true;
        continue;
      }
      const char32_t c = take();
      if (c == U']' && !first) break;
      if (c == U'[') {
        if (accept(U":"))
          set = set | posix_class();
        else
          set = set | parse_class(depth + 1);
        continue;
      }
      CodePointSet item = c == U'\\' ? class_escape() : CodePointSet(c);
      if (peek() == U'-' && peek(1) != U']' && peek(1) != U'\0' && is_single(item)) {
        ++at_;
        const char32_t high_char = take();
        const CodePointSet high = high_char == U'\\' ? class_escape() : CodePointSet(high_char);
        if (high_char == U'[' || !is_single(high)) unsupported("a range up to a class");
        check(item.ranges()[0].first <= high.ranges()[0].first, "a range that runs backwards");
        item = CodePointSet(item.ranges()[0].first, high.ranges()[0].first);
      }
      set = set | item;
    }
    finish_operand();
    if (groups_.back().ignore_case) left = fold(left);
    return negated ? ~left : left;
  }
  CodePointSet class_escape() {
    if (accept(U"b")) return CodePointSet(U'\b');
    return escaped_set();
  }
  CodePointSet posix_class() {
    const bool negated = accept(U"^");
    std::string name;
    for (char32_t c = take(); c != U':'; c = take()) utf8::append(name, c);
    check(accept(U"]"), "an unclosed POSIX class");
    if (name != "space" && name != "digit" && name != "word") unsupported("[:" + name + ":]");
    const CodePointSet set = *unicode::regex_property(name);
    return negated ? ~set : set;
  }
  static bool is_single(const CodePointSet& set) {
    return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
  }

  static void append_class(const std::vector<std::uint8_t>& classes, std::string& out) {
    if (classes.size() == 1) {
      out += fmt::format("\\x{:02x}", classes[0]);
    } else if (classes.empty()) {
      out += "[^\\x00-\\xff]";
    } else {
      out += '[';
      for (const std::uint8_t id : classes) out += fmt::format("\\x{:02x}", id);
      out += ']';
    }
  }

  std::u32string pattern_;
  std::string_view where_;
  std::size_t at_ = 0;
  std::vector<Item> items_;
  std::vector<CodePointSet> sets_;
  std::vector<Group> groups_;
  std::optional<std::size_t> atom_begin_;  // first item of what a quantifier would repeat
};

}  // namespace

TranslatedPattern translate_pattern(std::string_view oniguruma, std::string_view where) {
  return Translator(oniguruma, where).run();
}

}  // namespace tenon
