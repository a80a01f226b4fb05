// Filters on sequences and dicts.
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "text/jinja/arguments.h"
#include "text/jinja/attributes.h"
#include "text/jinja/dict.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/repr.h"
#include "text/jinja/unicode.h"

namespace tenon::jinja {
namespace {

Value length(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'length'", args, {});
  const auto count = length_of(subject);
  if (!count.has_value()) runtime.fault("object of type '{}' has no len()", type_name(subject));
  return Value::of(*count);
}

Value first(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'first'", args, {});
  ItemSource items(runtime, subject);
  Value item;
  if (items.next(item)) return item;
  return runtime.undefined_hint("No first item, sequence was empty.");
}

Value last(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'last'", args, {});
  if (subject.is(Kind::kIterator))
    runtime.fault("'{}' object is not reversible", type_name(subject));
  const bool indexed = subject.is_string() || subject.is_array() || subject.is(Kind::kRange);
  Value item;
  if (indexed) {
    if (item_at(runtime, subject, -1, item)) return item;
  } else {
    const std::vector<Value> items = to_vector(runtime, subject);
    if (!items.empty()) return items.back();
  }
  return runtime.undefined_hint("No last item, sequence was empty.");
}

Value list(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'list'", args, {});
  return runtime.list(to_vector(runtime, subject));
}

Value reverse(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'reverse'", args, {});
  if (subject.is_string()) return slice(runtime, subject, {}, {}, Value::of(std::int64_t{-1}));
  std::vector<Value> items = to_vector(runtime, subject);
  std::reverse(items.begin(), items.end());
  if (subject.is(Kind::kIterator)) return runtime.list(items);
  return runtime.iterator(items, "list_reverseiterator");
}

/// Text in lower case where case does not count, anything else as it is.
Value sort_key(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  runtime.charge_bytes(16 * value.text().size());
  return runtime.text(to_lower(value.text()));
}

struct Keyed {
  Value item;
  Value key;
};

void sort_keyed(Runtime& runtime, std::vector<Keyed>& items, bool reverse) {
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) {
    runtime.charge(1);
    return reverse ? compare(runtime, Op::kLess, b.key, a.key)
                   : compare(runtime, Op::kLess, a.key, b.key);
  });
}

std::vector<Value> items_of(const std::vector<Keyed>& rows) {
  std::vector<Value> items;
  items.reserve(rows.size());
  for (const Keyed& row : rows) items.push_back(row.item);
  return items;
}

/// The key by which sort compares: the list of the attributes named, separated by commas.
Value multi_key(Runtime& runtime, const Value& item, const Value& attributes, bool case_sensitive) {
  std::vector<Value> keys;
  if (!attributes.is_string()) {
    keys.push_back(sort_key(runtime, get_path(runtime, item, attributes), case_sensitive));
    return runtime.list(keys);
  }
  for (std::string_view rest = attributes.text();;) {
    const std::size_t comma = rest.find(',');
    const Value path = runtime.text_view(rest.substr(0, comma));
    keys.push_back(sort_key(runtime, get_path(runtime, item, path), case_sensitive));
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
  }
  return runtime.list(keys);
}

Value sort(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'sort'", args, {"reverse", "case_sensitive", "attribute"});
  std::vector<Keyed> rows;
  for (const Value& item : to_vector(runtime, subject))
    rows.push_back({item, multi_key(runtime, item, bound.get(2), bound.flag(1, false))});
  sort_keyed(runtime, rows, bound.flag(0, false));
  return runtime.list(items_of(rows));
}

Value dict_sort(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'dictsort'", args, {"case_sensitive", "by", "reverse"});
  const std::string_view by = bound.text(1, "key");
  if (by != "key" && by != "value")
    runtime.fault("You can only sort by either \"key\" or \"value\"");
  if (subject.is_undefined()) runtime.fault_undefined(subject);
  if (!subject.is(Kind::kDict))
    runtime.fault("filter 'dictsort' expects a dict, got {}", type_name(subject));
  std::vector<Keyed> rows;
  for (const auto& [key, value] : subject.dict->items)
    rows.push_back({runtime.pair(key, value),
                    sort_key(runtime, by == "key" ? key : value, bound.flag(0, false))});
  sort_keyed(runtime, rows, bound.flag(2, false));
  return runtime.list(items_of(rows));
}

Value unique(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'unique'", args, {"case_sensitive", "attribute"});
  return generate(runtime, [&](std::vector<Value>& items) {
    const Value seen = runtime.new_dict();
    for (const Value& item : to_vector(runtime, subject)) {
      const Value key =
          sort_key(runtime, get_path(runtime, item, bound.get(1)), bound.flag(0, false));
      if (!is_hashable(key)) runtime.fault("unhashable type: '{}'", type_name(key));
      if (dict_find(runtime, *seen.dict, key) != nullptr) continue;
      dict_set(runtime, *seen.dict, key, item);
      items.push_back(item);
    }
  });
}

template <Op kOp>
Value extreme(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'min' or 'max'", args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = to_vector(runtime, subject);
  if (items.empty()) return runtime.undefined_hint("No aggregated item, sequence was empty.");
  const auto key_of = [&](const Value& item) {
    return sort_key(runtime, get_path(runtime, item, bound.get(1)), bound.flag(0, false));
  };
  Value best = items[0];
  Value best_key = key_of(best);
  for (std::size_t i = 1; i < items.size(); ++i) {
    const Value key = key_of(items[i]);
    if (!compare(runtime, kOp, key, best_key)) continue;
    best = items[i];
    best_key = key;
  }
  return best;
}

Value sum(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'sum'", args, {"attribute", "start"});
  Value total = bound.get(1, Value::of(std::int64_t{0}));
  if (total.is_string()) runtime.fault("sum() can't sum strings [use ''.join(seq) instead]");
  ItemSource items(runtime, subject);
  for (Value item; items.next(item);)
    total = arithmetic(runtime, Op::kAdd, total,
                       bound.given(0) ? get_path(runtime, item, bound[0]) : item);
  return total;
}

Value group_by(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'groupby'", args, {"attribute", "default", "case_sensitive"},
                    1);
  const auto value_of = [&](const Value& item) {
    return get_path(runtime, item, bound[0], bound.get(1));
  };
  std::vector<Keyed> rows;
  for (const Value& item : to_vector(runtime, subject))
    rows.push_back({item, sort_key(runtime, value_of(item), bound.flag(2, false))});
  sort_keyed(runtime, rows, false);
  std::vector<Value> groups;
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin + 1;
    while (end < rows.size() && equals(runtime, rows[end].key, rows[begin].key)) ++end;
    const std::vector<Value> members = items_of({rows.begin() + static_cast<std::ptrdiff_t>(begin),
                                                 rows.begin() + static_cast<std::ptrdiff_t>(end)});
    const Value group = runtime.pair(value_of(members[0]), runtime.list(members));
    const_cast<SequenceObject*>(group.sequence)->group = true;  // ours alone until now
    groups.push_back(group);
    begin = end;
  }
  return runtime.list(groups);
}

void fill_batches(Runtime& runtime, const Value& subject, const Bound& bound,
                  std::vector<Value>& rows) {
  const std::int64_t count = bound.integer(0, 1);
  std::vector<Value> row;
  for (const Value& item : to_vector(runtime, subject)) {
    if (static_cast<std::int64_t>(row.size()) == count) {
      rows.push_back(runtime.list(row));
      row.clear();
    }
    row.push_back(item);
  }
  if (row.empty()) return;
  if (bound.given(1) && static_cast<std::int64_t>(row.size()) < count) {
    runtime.charge(static_cast<std::uint64_t>(count));
    runtime.arena.require(static_cast<std::size_t>(count));
    row.resize(static_cast<std::size_t>(count), bound[1]);
  }
  rows.push_back(runtime.list(row));
}

Value batch(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'batch'", args, {"linecount", "fill_with"}, 1);
  return generate(runtime,
                  [&](std::vector<Value>& rows) { fill_batches(runtime, subject, bound, rows); });
}

void fill_columns(Runtime& runtime, const Value& subject, const Bound& bound,
                  std::vector<Value>& columns) {
  const std::vector<Value> items = to_vector(runtime, subject);
  const std::int64_t slices = bound.integer(0, 1);
  if (slices == 0) runtime.fault("integer division or modulo by zero");
  if (slices < 0) return;
  runtime.charge(static_cast<std::uint64_t>(slices));
  const auto total = static_cast<std::int64_t>(items.size());
  std::int64_t start = 0;
  for (std::int64_t i = 0; i < slices; ++i) {
    const bool extra = i < total % slices;
    const std::int64_t end = start + total / slices + (extra ? 1 : 0);
    std::vector<Value> column(items.begin() + start, items.begin() + end);
    if (bound.given(1) && !extra) column.push_back(bound[1]);
    columns.push_back(runtime.list(column));
    start = end;
  }
}

Value slice_columns(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'slice'", args, {"slices", "fill_with"}, 1);
  return generate(runtime, [&](std::vector<Value>& columns) {
    fill_columns(runtime, subject, bound, columns);
  });
}

Value dict_items(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "filter 'items'", args, {});
  return generate(runtime, [&](std::vector<Value>& pairs) {
    if (subject.is_undefined()) return;
    if (!subject.is(Kind::kDict)) runtime.fault("Can only get item pairs from a mapping.");
    for (const auto& [key, value] : subject.dict->items) pairs.push_back(runtime.pair(key, value));
  });
}

constexpr std::array kFilters{
    Method{"length", length},
    Method{"count", length},
    Method{"first", first},
    Method{"last", last},
    Method{"list", list},
    Method{"reverse", reverse},
    Method{"sort", sort},
    Method{"dictsort", dict_sort},
    Method{"unique", unique},
    Method{"min", extreme<Op::kLess>},
    Method{"max", extreme<Op::kGreater>},
    Method{"sum", sum},
    Method{"groupby", group_by},
    Method{"batch", batch},
    Method{"slice", slice_columns},
    Method{"items", dict_items},
};

}  // namespace

std::span<const Method> sequence_filters() { return kFilters; }

}  // namespace tenon::jinja
