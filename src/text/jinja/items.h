// Walking values: Python's iter(), len() and list().
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

bool is_iterable(const Value& value);

/// len(value), empty where the kind has none.
std::optional<std::int64_t> length_of(const Value& value);

/// Walks a value without copying it. An iterator is used up by the walk.
class ItemSource {
 public:
  /// Throws where `value` cannot be walked.
  ItemSource(Runtime& runtime, const Value& value);
  bool next(Value& item);

 private:
  bool next_character(Value& item);
  bool next_of_view(Value& item);

  Runtime& runtime_;
  Value value_;
  std::size_t place_ = 0;
};

/// list(value).
std::vector<Value> to_vector(Runtime& runtime, const Value& value);

/// value[index] of a list, tuple, string or range; false where out of range.
bool item_at(Runtime& runtime, const Value& value, std::int64_t index, Value& item);

/// value[start:stop:step]; none stands for a part that was left out.
Value slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
            const Value& step);

}  // namespace tenon::jinja
