// SPDX-License-Identifier: Apache-2.0
#include "text/replacer.h"

#include "core/check.h"
#include "text/json_fields.h"

namespace tenon {

SplitPattern make_pattern(const Json& component, std::string_view where) {
  const Json& pattern = component.at("pattern", where);
  if (const Json* const text = find_field(pattern, "String"))
    return SplitPattern::literal(text->as_string("pattern.String"));
  if (const Json* const regex = find_field(pattern, "Regex"))
    return SplitPattern::regex(regex->as_string("pattern.Regex"), where);
  fail(ErrorCode::kCorrupt, "{}: pattern of {}: expected {{\"String\": …}} or {{\"Regex\": …}}",
       where, type_of(component, where));
}

std::string Replacer::replace(std::string_view text, bool* front_removed) const {
  std::vector<TextRange> matches;
  pattern_.find_all(text, matches);
  if (matches.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  for (const TextRange& match : matches) {
    out.append(text, done, match.begin - done);
    out += content_;
    done = match.end;
  }
  out.append(text, done);
  if (front_removed != nullptr && content_.empty() && matches[0].begin == 0 && matches[0].end > 0)
    *front_removed = true;
  return out;
}

Replacer make_replacer(const Json& component, std::string_view where) {
  return {make_pattern(component, where), component.at("content", where).as_string("content")};
}

}  // namespace tenon
