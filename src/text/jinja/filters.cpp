// The list of filters.
// SPDX-License-Identifier: Apache-2.0
#include "text/jinja/filters.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/jinja/parser.h"

namespace tenon::jinja {
namespace {

constexpr std::array<std::string_view, 6> kUnsupported{"filesizeformat", "pprint",   "random",
                                                       "urlize",         "wordwrap", "xmlattr"};

const std::unordered_map<std::string_view, Function>& table() {
  static const auto* const rows = [] {
    auto* map = new std::unordered_map<std::string_view, Function>;
    for (const auto methods :
         {text_filters(), markup_filters(), number_filters(), sequence_filters(), select_filters()})
      for (const Method& method : methods) map->emplace(method.name, method.body);
    return map;
  }();
  return *rows;
}

bool is_unsupported(std::string_view name) {
  return std::find(kUnsupported.begin(), kUnsupported.end(), name) != kUnsupported.end();
}

}  // namespace

bool is_known_filter(std::string_view name) {
  return table().contains(name) || is_unsupported(name);
}

Value apply_filter(Runtime& runtime, std::string_view name, const Value& subject, Args& args) {
  runtime.charge(1);
  const Runtime::Nest nest(runtime);
  const auto found = table().find(name);
  if (found != table().end()) return found->second(runtime, subject, args);
  if (is_unsupported(name))
    fail_at(runtime.site, ErrorCode::kUnsupported, "the filter '{}' is not supported", name);
  runtime.fault("No filter named '{}'.", name);
}

}  // namespace tenon::jinja
