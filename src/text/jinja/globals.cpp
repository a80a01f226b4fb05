// What a chat template may call without being given it.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/globals.h"

#include <array>
#include <chrono>
#include <ctime>

#include "text/jinja/arguments.h"
#include "text/jinja/dict.h"
#include "text/jinja/items.h"
#include "text/jinja/methods.h"
#include "text/jinja/repr.h"

namespace tenon::jinja {
namespace {

Value range(Runtime& runtime, const Value&, Args& args) {
  const Bound bound(runtime, "range()", args, {"start", "stop", "step"}, 1);
  RangeObject range;
  range.start = bound.has(1) ? bound.integer(0, 0) : 0;
  range.stop = bound.integer(bound.has(1) ? 1 : 0, 0);
  range.step = bound.integer(2, 1);
  if (range.step == 0) runtime.fault("range() arg 3 must not be zero");
  // Wide arithmetic: the bounds may lie 2^64 apart.
  const __int128 span = range.step > 0 ? static_cast<__int128>(range.stop) - range.start
                                       : static_cast<__int128>(range.start) - range.stop;
  const __int128 stride = range.step > 0 ? range.step : -static_cast<__int128>(range.step);
  const __int128 length = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (length > kMaxRange)
    fail_at(runtime.site, ErrorCode::kResourceExhausted,
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange);
  range.length = static_cast<std::int64_t>(length);
  Value result;
  result.kind = Kind::kRange;
  result.range = runtime.arena.make<RangeObject>(range);
  return result;
}

/// dict(): of a mapping or of pairs, and of keywords.
Value make_dict(Runtime& runtime, const Value&, Args& args) {
  if (args.positional.size() > 1)
    runtime.fault("dict expected at most 1 argument, got {}", args.positional.size());
  const Value result = runtime.new_dict();
  if (!args.positional.empty() && args.positional[0].is(Kind::kDict)) {
    for (const auto& [key, value] : args.positional[0].dict->items)
      dict_set(runtime, *result.dict, key, value);
  } else if (!args.positional.empty()) {
    ItemSource items(runtime, args.positional[0]);
    for (Value item; items.next(item);) {
      const std::vector<Value> pair = to_vector(runtime, item);
      if (pair.size() != 2) runtime.fault("dict() expects pairs, got {} items", pair.size());
      dict_set(runtime, *result.dict, pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : args.named)
    dict_set(runtime, *result.dict, runtime.text(name), value);
  return result;
}

Value make_namespace(Runtime& runtime, const Value& self, Args& args) {
  Value result;
  result.kind = Kind::kNamespace;
  result.name_space = runtime.arena.make<NamespaceObject>();
  result.name_space->members = make_dict(runtime, self, args).dict;
  return result;
}

Value make_cycler(Runtime& runtime, const Value&, Args& args) {
  if (args.positional.empty()) runtime.fault("at least one item has to be provided");
  Value result;
  result.kind = Kind::kCycler;
  result.cycler = runtime.arena.make<CyclerObject>(CyclerObject{
      std::pmr::vector<Value>(args.positional.begin(), args.positional.end(), &runtime.arena)});
  return result;
}

Value make_joiner(Runtime& runtime, const Value&, Args& args) {
  const Bound bound(runtime, "joiner()", args, {"sep"});
  Value result;
  result.kind = Kind::kJoiner;
  result.joiner = runtime.arena.make<JoinerObject>();
  result.joiner->separator = bound.has(0) ? bound[0] : runtime.text(", ");
  return result;
}

Value raise_exception(Runtime& runtime, const Value&, Args& args) {
  const Bound bound(runtime, "raise_exception()", args, {"message"}, 1);
  runtime.fault("{}", bound.text(0, {}));
}

Value lipsum(Runtime& runtime, const Value&, Args&) {
  fail_at(runtime.site, ErrorCode::kUnsupported, "lipsum() is not supported in chat templates");
}

/// datetime.now().strftime(format): local time without a zone, no fractions of a second.
Value strftime_now(Runtime& runtime, const Value&, Args& args) {
  const Bound bound(runtime, "strftime_now()", args, {"format"}, 1);
  std::string format;
  const std::string_view given = bound.string(0);
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] != '%' || i + 1 == given.size()) {
      format += given[i];
      continue;
    }
    const char code = given[++i];
    if (code == 'f') {
      format += "000000";
    } else if (code != 'z' && code != 'Z') {  // of a time without a zone Python prints nothing
      format += {'%', code};
    }
  }
  const std::time_t now = static_cast<std::time_t>(
      runtime.now.value_or(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
  std::tm parts{};
  if (localtime_r(&now, &parts) == nullptr)
    runtime.fault("strftime_now(): the time is out of range");
  std::array<char, 4096> buffer;
  // A leading mark tells an empty result from one that does not fit.
  format.insert(format.begin(), '.');
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &parts);
  if (size == 0) runtime.fault("strftime_now(): the text is longer than {} bytes", buffer.size());
  return runtime.text({buffer.data() + 1, size - 1});
}

constexpr std::array kGlobals{
    Method{"range", range},
    Method{"dict", make_dict},
    Method{"namespace", make_namespace},
    Method{"cycler", make_cycler},
    Method{"joiner", make_joiner},
    Method{"raise_exception", raise_exception},
    Method{"strftime_now", strftime_now},
    Method{"lipsum", lipsum},
};

}  // namespace

void define_globals(Runtime& runtime,
                    const std::function<void(std::string_view, const Value&)>& define) {
  for (const Method& method : kGlobals)
    define(method.name, runtime.function(method.name, method.body));
}

}  // namespace tenon::jinja
