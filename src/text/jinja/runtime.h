// What every built-in needs while a template renders: the arena, the limits, the place in the
// template, and the way back into the interpreter (calls of macros, filters and tests by name).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/arena.h"
#include "text/jinja/limits.h"
#include "text/jinja/site.h"
#include "text/jinja/value.h"

namespace tenon::jinja {

class Runtime {
 public:
  Runtime(std::string_view where, const Limits& limits)
      : site{where, 1}, arena(site, limits.memory_bytes), limits_(limits) {}
  virtual ~Runtime() = default;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Site site;
  Arena arena;
  std::optional<std::int64_t> now;  ///< Unix seconds for strftime_now; the clock where empty

  /// Counts work; throws when the template has done more than its share.
  void charge(std::uint64_t steps) {
    steps_ += steps;
    if (steps_ > limits_.steps) [[unlikely]]
      out_of_steps();
  }
  void charge_bytes(std::size_t count) { charge(count / 64); }

  /// A fault of the template or of what was passed to it.
  template <class... A>
  [[noreturn]] void fault(fmt::format_string<A...> format, A&&... args) const {
    fail_at(site, ErrorCode::kInvalidArgument, format, std::forward<A>(args)...);
  }
  [[noreturn]] void fault_undefined(const Value& undefined) const;

  Value text(std::string_view text);       ///< copies
  Value text_view(std::string_view text);  ///< keeps pointing at `text`
  Value text_view(std::string_view text, std::int64_t length);
  Value character(std::string_view text);                   ///< one code point, not copied
  Value concat(const Value& left, std::string_view right);  ///< amortised O(size of right)
  Value markup(const Value& string);

  Value list(const std::vector<Value>& items) { return sequence(Kind::kList, items); }
  Value tuple(const std::vector<Value>& items) { return sequence(Kind::kTuple, items); }
  Value sequence(Kind kind, const std::vector<Value>& items);
  Value pair(const Value& first, const Value& second);
  Value iterator(const std::vector<Value>& items, std::string_view type_name = "generator");
  Value new_dict();
  Value function(std::string_view name, Function body, const Value& self = {});

  Value undefined_name(std::string_view name);
  Value undefined_hint(std::string_view hint);
  Value undefined_member(const Value& object, const Value& name);

  virtual Value call(const Value& callee, Args& args) = 0;

  /// Guards native recursion: throws when the nesting passes the limit.
  class Nest {
   public:
    explicit Nest(Runtime& runtime) : runtime_(runtime) {
      if (++runtime_.depth_ > runtime_.limits_.depth) [[unlikely]] {
        --runtime_.depth_;
        runtime_.too_deep();
      }
    }
    ~Nest() { --runtime_.depth_; }
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;

   private:
    Runtime& runtime_;
  };

 protected:
  const Limits& limits() const { return limits_; }

 private:
  [[noreturn]] void out_of_steps() const;
  [[noreturn]] void too_deep() const;

  Limits limits_;
  std::uint64_t steps_ = 0;
  int depth_ = 0;
  std::array<const StringObject*, 128> characters_{};
};

/// Collects a text that becomes a value; checks the memory limit while it grows.
class TextBuilder {
 public:
  explicit TextBuilder(Runtime& runtime) : runtime_(runtime) {}
  void append(std::string_view text) {
    runtime_.charge_bytes(text.size());
    if (text_.size() + text.size() > text_.capacity())
      runtime_.arena.require(2 * (text_.size() + text.size()));
    text_.append(text);
  }
  void append_repeated(std::string_view text, std::int64_t count);
  std::size_t size() const { return text_.size(); }
  const std::string& str() const { return text_; }
  Value finish() { return runtime_.text(text_); }

 private:
  Runtime& runtime_;
  std::string text_;
};

}  // namespace tenon::jinja
