// Rendering: the caller's JSON becomes the template's variables, without copying its strings.
// SPDX-License-Identifier: Apache-2.0
#include "text/chat_template.h"

#include "core/check.h"
#include "text/jinja/dict.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace tenon {
namespace {

using jinja::Kind;
using jinja::Runtime;
using jinja::Value;

Value to_value(Runtime& runtime, const Json& json, std::string_view what, int depth) {
  TENON_CHECK(depth <= jinja::kMaxValueDepth, ErrorCode::kInvalidArgument,
              "[chat template] {}: expected at most {} levels of nesting", what,
              jinja::kMaxValueDepth);
  if (json.is_null()) return Value::none();
  if (json.is_bool()) return Value::of(json.as_bool(what));
  if (json.is_int()) return Value::of(json.as_int(what));
  if (json.is_number()) return Value::of(json.as_double(what));
  if (json.is_string()) return runtime.text_view(json.as_string(what));
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.as_array(what).size());
    for (const Json& item : json.as_array(what))
      items.push_back(to_value(runtime, item, what, depth + 1));
    return runtime.list(items);
  }
  const Value dict = runtime.new_dict();
  for (const auto& [key, value] : json.as_object(what))
    jinja::dict_set(runtime, *dict.dict, runtime.text_view(key),
                    to_value(runtime, value, what, depth + 1));
  return dict;
}

/// Bytes of text and an allowance for each node: what limits grow with.
std::size_t weight(const Json& json, int depth = 0) {
  if (depth > jinja::kMaxValueDepth) return 0;  // refused later, with a message
  if (json.is_string()) return 8 + json.as_string("").size();
  std::size_t total = 8;
  if (json.is_array())
    for (const Json& item : json.as_array("")) total += weight(item, depth + 1);
  if (json.is_object())
    for (const auto& [key, value] : json.as_object(""))
      total += 8 + key.size() + weight(value, depth + 1);
  return total;
}

/// Long conversations may cost more: the limits are on top of a share for each byte given.
jinja::Limits scaled(jinja::Limits limits, const ChatTemplateInput& input) {
  const std::size_t size =
      weight(input.messages) + weight(input.tools) + weight(input.documents) + weight(input.extra);
  limits.steps += 32 * size;
  limits.output_bytes += 16 * size;
  limits.memory_bytes += 64 * size;
  return limits;
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  std::string where;
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::~ChatTemplate() = default;

const std::string& ChatTemplate::source() const { return state_->source; }

std::shared_ptr<const ChatTemplate> ChatTemplate::parse(std::string source,
                                                        std::string_view where) {
  TENON_CHECK(source.size() <= jinja::kMaxSourceBytes, ErrorCode::kCorrupt,
              "[chat template] {}: expected at most {} bytes, got {}", where,
              jinja::kMaxSourceBytes, source.size());
  auto state = std::make_unique<State>();
  state->source = std::move(source);
  state->where = where;
  state->body = jinja::Parser(jinja::tokenize(state->source, state->where), state->where).parse();
  return std::shared_ptr<const ChatTemplate>(new ChatTemplate(std::move(state)));
}

std::string ChatTemplate::render(const ChatTemplateInput& input,
                                 const jinja::Limits& limits) const {
  jinja::Interpreter interpreter(state_->where, scaled(limits, input));
  interpreter.now = input.now;
  interpreter.define("messages", to_value(interpreter, input.messages, "messages", 0));
  interpreter.define("tools", to_value(interpreter, input.tools, "tools", 0));
  interpreter.define("documents", to_value(interpreter, input.documents, "documents", 0));
  interpreter.define("add_generation_prompt", Value::of(input.add_generation_prompt));
  interpreter.define("bos_token", interpreter.text_view(input.bos_token));
  interpreter.define("eos_token", interpreter.text_view(input.eos_token));
  if (!input.extra.is_null())
    for (const auto& [name, value] : input.extra.as_object("[chat template] extra"))
      interpreter.define(name, to_value(interpreter, value, name, 0));
  return interpreter.run(state_->body);
}

Json to_json(const std::vector<ChatMessage>& messages) {
  Json array = Json::array();
  for (const ChatMessage& message : messages) {
    Json item = Json::object();
    item.set("role", message.role);
    item.set("content", message.content);
    array.push_back(std::move(item));
  }
  return array;
}

}  // namespace tenon
