// SPDX-License-Identifier: Apache-2.0
#include "text/post_processor.h"

#include "core/check.h"
#include "text/json_fields.h"

namespace tenon {
namespace {

std::int32_t id_value(const Json& json, std::string_view where) {
  const std::int64_t id = json.as_int("special token id");
  TENON_CHECK(id >= 0 && id <= 0x7FFFFFFE, ErrorCode::kCorrupt, "{}: a special token id of {}",
              where, id);
  return static_cast<std::int32_t>(id);
}

/// The second of a ["[CLS]", 101] pair.
std::int32_t paired_id(const Json& json, const char* key, std::string_view where) {
  const Json::Array& pair = json.at(key, where).as_array(key);
  TENON_CHECK(pair.size() == 2, ErrorCode::kCorrupt, "{}: {} of {} members, expected 2", where, key,
              pair.size());
  return id_value(pair[1], where);
}

PostProcessor from_template(const Json& json, std::string_view where) {
  PostProcessor out;
  bool seen = false;  // the text itself
  const Json* const tokens = find_field(json, "special_tokens");
  for (const Json& piece : json.at("single", where).as_array("single")) {
    if (const Json* const sequence = find_field(piece, "Sequence")) {
      TENON_CHECK(sequence->at("id", where).as_string("id") == "A" && !seen,
                  ErrorCode::kUnsupported, "{}: a template that names its text twice", where);
      seen = true;
      continue;
    }
    const std::string& name = piece.at("SpecialToken", where).at("id", where).as_string("id");
    const Json* const token = tokens == nullptr ? nullptr : tokens->find(name);
    TENON_CHECK(token != nullptr, ErrorCode::kCorrupt,
                "{}: the template needs the special token \"{}\", not listed", where, name);
    for (const Json& id : token->at("ids", where).as_array("ids"))
      (seen ? out.suffix : out.prefix).push_back(id_value(id, where));
  }
  TENON_CHECK(seen, ErrorCode::kUnsupported, "{}: a template without the text", where);
  return out;
}

}  // namespace

PostProcessor make_post_processor(const Json& json, std::string_view where) {
  const std::string& type = type_of(json, where);
  PostProcessor out;
  if (type == "ByteLevel") return out;  // concerns offsets alone
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    out.prefix = {paired_id(json, "cls", where)};
    out.suffix = {paired_id(json, "sep", where)};
    return out;
  }
  if (type == "TemplateProcessing") return from_template(json, where);
  if (type == "Sequence") {
    // Each step wraps what the step before it made.
    for (const Json& step : json.at("processors", where).as_array("processors")) {
      const PostProcessor next = make_post_processor(step, where);
      out.prefix.insert(out.prefix.begin(), next.prefix.begin(), next.prefix.end());
      out.suffix.insert(out.suffix.end(), next.suffix.begin(), next.suffix.end());
    }
    return out;
  }
  fail(ErrorCode::kUnsupported, "{}: post-processor type \"{}\" is not known", where, type);
}

}  // namespace tenon
