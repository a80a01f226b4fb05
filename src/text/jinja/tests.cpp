// The list of tests.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/tests.h"

#include <algorithm>
#include <array>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/items.h"
#include "text/jinja/operators.h"
#include "text/jinja/parser.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

using Predicate = bool (*)(const Value&);

template <Predicate kPredicate>
bool simple(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test", args, {});
  return kPredicate(subject);
}

template <Op kOp>
bool comparison(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test", args, {"other"}, 1);
  return compare(runtime, kOp, subject, bound[0]);
}

bool defined(const Value& v) { return !v.is_undefined(); }
bool undefined(const Value& v) { return v.is_undefined(); }
bool none(const Value& v) { return v.is_none(); }
bool boolean(const Value& v) { return v.is(Kind::kBool); }
bool is_true(const Value& v) { return v.is(Kind::kBool) && v.boolean; }
bool is_false(const Value& v) { return v.is(Kind::kBool) && !v.boolean; }
bool integer(const Value& v) { return v.is(Kind::kInt); }
bool real(const Value& v) { return v.is(Kind::kFloat); }
bool number(const Value& v) { return v.is_number(); }
bool string(const Value& v) { return v.is_string(); }
bool mapping(const Value& v) { return v.is(Kind::kDict); }
bool callable(const Value& v) { return v.is_callable(); }
bool escaped(const Value& v) { return v.is_string() && v.string->markup; }
bool iterable(const Value& v) { return is_iterable(v) || v.is(Kind::kLoop); }
bool sequence(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is_array() || v.is(Kind::kDict) ||
         v.is(Kind::kRange);
}

template <bool (*kCase)(std::string_view)>
bool has_case(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test", args, {});
  const std::string_view text = to_text(runtime, subject).text();
  runtime.charge_bytes(8 * text.size());
  return kCase(text);
}

template <std::int64_t kRest>
bool parity(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test", args, {});
  const Value rest = arithmetic(runtime, Op::kModulo, subject, Value::of(std::int64_t{2}));
  return equals(runtime, rest, Value::of(kRest));
}

bool divisible_by(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test 'divisibleby'", args, {"num"}, 1);
  const Value rest = arithmetic(runtime, Op::kModulo, subject, bound[0]);
  return equals(runtime, rest, Value::of(std::int64_t{0}));
}

bool same_as(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test 'sameas'", args, {"other"}, 1);
  const Value& other = bound[0];
  if (subject.kind != other.kind) return false;
  // Python keeps one object for each of these; others are the same only as the same object.
  const bool by_value = subject.is_none() || subject.is_integral() || subject.is_string();
  return by_value ? equals(runtime, subject, other) : subject.sequence == other.sequence;
}

bool is_in(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test 'in'", args, {"seq"}, 1);
  return contains(runtime, bound[0], subject);
}

bool filter_exists(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test 'filter'", args, {});
  return subject.is_string() && is_known_filter(subject.text());
}

bool test_exists(Runtime& runtime, const Value& subject, Args& args) {
  const Bound bound(runtime, "test 'test'", args, {});
  return subject.is_string() && is_known_test(subject.text());
}

struct Row {
  std::string_view name;
  bool (*body)(Runtime&, const Value&, Args&);
};

constexpr std::array kTests{
    Row{"defined", simple<defined>},
    Row{"undefined", simple<undefined>},
    Row{"none", simple<none>},
    Row{"string", simple<string>},
    Row{"mapping", simple<mapping>},
    Row{"iterable", simple<iterable>},
    Row{"sequence", simple<sequence>},
    Row{"number", simple<number>},
    Row{"integer", simple<integer>},
    Row{"float", simple<real>},
    Row{"boolean", simple<boolean>},
    Row{"true", simple<is_true>},
    Row{"false", simple<is_false>},
    Row{"callable", simple<callable>},
    Row{"escaped", simple<escaped>},
    Row{"upper", has_case<is_all_upper>},
    Row{"lower", has_case<is_all_lower>},
    Row{"odd", parity<1>},
    Row{"even", parity<0>},
    Row{"divisibleby", divisible_by},
    Row{"sameas", same_as},
    Row{"in", is_in},
    Row{"filter", filter_exists},
    Row{"test", test_exists},
    Row{"==", comparison<Op::kEqual>},
    Row{"eq", comparison<Op::kEqual>},
    Row{"equalto", comparison<Op::kEqual>},
    Row{"!=", comparison<Op::kNotEqual>},
    Row{"ne", comparison<Op::kNotEqual>},
    Row{">", comparison<Op::kGreater>},
    Row{"gt", comparison<Op::kGreater>},
    Row{"greaterthan", comparison<Op::kGreater>},
    Row{">=", comparison<Op::kGreaterEqual>},
    Row{"ge", comparison<Op::kGreaterEqual>},
    Row{"<", comparison<Op::kLess>},
    Row{"lt", comparison<Op::kLess>},
    Row{"lessthan", comparison<Op::kLess>},
    Row{"<=", comparison<Op::kLessEqual>},
    Row{"le", comparison<Op::kLessEqual>},
};

const Row* find_test(std::string_view name) {
  const auto* row =
      std::find_if(kTests.begin(), kTests.end(), [&](const Row& r) { return r.name == name; });
  return row == kTests.end() ? nullptr : row;
}

}  // namespace

bool is_known_test(std::string_view name) { return find_test(name) != nullptr; }

bool apply_test(Runtime& runtime, std::string_view name, const Value& subject, Args& args) {
  runtime.charge(1);
  const Row* row = find_test(name);
  if (row == nullptr) runtime.fault("No test named '{}'.", name);
  return row->body(runtime, subject, args);
}

}  // namespace tenon::jinja
