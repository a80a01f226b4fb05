// Chat templates: the Jinja text that turns a conversation into a prompt, rendered as Hugging
// Face transformers renders it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "tenon/chat.h"
#include "text/jinja/limits.h"

namespace tenon {

/// The messages as the array of {"role", "content"} that templates walk.
Json to_json(const std::vector<ChatMessage>& messages);

struct ChatTemplateInput {
  Json messages = Json::array();
  Json tools;      ///< array of JSON schemas, or null
  Json documents;  ///< array, or null
  bool add_generation_prompt = false;
  std::string bos_token, eos_token;
  Json extra;  ///< object: chat_template_kwargs and other special tokens; wins over the above
  std::optional<std::int64_t> now;  ///< Unix seconds for strftime_now; the clock where empty
};

/// A parsed template. Immutable: threads may render it together.
class ChatTemplate {
 public:
  /// `where` names the source in errors ("tokenizer_config.json"). Throws Error{kCorrupt} with
  /// the line and what was expected; Error{kUnsupported} for what chat templates never need.
  static std::shared_ptr<const ChatTemplate> parse(std::string source, std::string_view where);

  /// The prompt's text. Throws Error{kInvalidArgument} where the template refuses the input
  /// (raise_exception) or uses it wrongly, Error{kResourceExhausted} where it passes a limit.
  std::string render(const ChatTemplateInput& input, const jinja::Limits& limits = {}) const;

  const std::string& source() const;

  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The template of a Hugging Face directory: chat_template.jinja, else chat_template.json, else
/// "chat_template" of tokenizer_config.json (a string, or a list of {name, template} of which
/// `name` is taken: "default" or "tool_use"; a missing "tool_use" falls back to "default").
/// Empty where the directory has none.
std::optional<std::string> find_chat_template(const std::filesystem::path& directory,
                                              std::string_view name = "default");

}  // namespace tenon
