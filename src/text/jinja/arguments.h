// Binds the arguments of a built-in to its parameters, with Python's errors.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <initializer_list>
#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

class Bound {
 public:
  /// The first `required` of `names` must be given. `who` names the function in errors.
  Bound(Runtime& runtime, std::string_view who, const Args& args,
        std::initializer_list<std::string_view> names, std::size_t required = 0);

  bool has(std::size_t i) const { return values_[i] != nullptr; }
  /// Given and not None.
  bool given(std::size_t i) const { return has(i) && !values_[i]->is_none(); }
  const Value& operator[](std::size_t i) const { return *values_[i]; }
  Value get(std::size_t i, const Value& missing = {}) const {
    return has(i) ? *values_[i] : missing;
  }

  std::int64_t integer(std::size_t i, std::int64_t missing) const;
  bool flag(std::size_t i, bool missing) const;
  /// str() of the argument.
  std::string_view text(std::size_t i, std::string_view missing) const;
  /// The argument, which must be a string.
  std::string_view string(std::size_t i) const;

 private:
  Runtime& runtime_;
  std::string_view who_;
  std::array<std::string_view, 6> names_{};
  std::array<const Value*, 6> values_{};
};

}  // namespace tenon::jinja
