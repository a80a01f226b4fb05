// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_session.h"

#include <algorithm>

#include "core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "text/chat_template.h"

namespace tenon::cli {
namespace {

/// Removes the oldest question with its answer; false where only the newest is left.
bool drop_oldest_turn(std::vector<ChatMessage>& messages) {
  const auto first = messages.begin() + (messages.front().role == "system" ? 1 : 0);
  const auto next = std::find_if(std::min(first + 1, messages.end()), messages.end(),
                                 [](const ChatMessage& message) { return message.role == "user"; });
  if (next == messages.end()) return false;
  messages.erase(first, next);
  return true;
}

}  // namespace

ChatSession::ChatSession(LLM& llm, const SamplingParams& sampling, std::int64_t max_output_len)
    : llm_(llm), sampling_(sampling), max_output_len_(max_output_len) {
  TENON_CHECK(max_output_len >= 0, ErrorCode::kInvalidArgument,
              "--max_output_len: {} is less than 0", max_output_len);
}

void ChatSession::set_system(const std::string& text) {
  if (has_system()) messages_.erase(messages_.begin());
  if (!text.empty()) messages_.insert(messages_.begin(), {"system", text});
}

void ChatSession::reset() { messages_.resize(has_system() ? 1 : 0); }

Answer ChatSession::ask(const std::string& text, const OnText& on_text) {
  const std::int64_t longest = llm_.max_seq_len();
  // Old turns go before the answer has less room than this.
  const std::int64_t wanted =
      max_output_len_ > 0 ? std::min(max_output_len_, longest / 2) : longest / 4;
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({"user", text});
  const std::size_t before = messages.size();
  const auto length = [&] {
    return static_cast<std::int64_t>(
        llm_.encode(llm_.apply_chat_template(messages), /*add_special_tokens=*/false).size());
  };
  std::int64_t prompt = length();
  while (prompt + std::max<std::int64_t>(wanted, 1) > longest && drop_oldest_turn(messages))
    prompt = length();
  TENON_CHECK(prompt < longest, ErrorCode::kInvalidArgument,
              "the message (with the system text) has {} tokens, the context {}; shorten it, or "
              "start with a larger --max_seq_len",
              prompt, longest);
  Answer answer;
  answer.dropped = before - messages.size();

  SamplingParams sampling = sampling_;
  const std::int64_t room = longest - prompt;
  sampling.max_tokens =
      static_cast<std::int32_t>(max_output_len_ > 0 ? std::min(max_output_len_, room) : room);
  sampling.min_tokens = std::min(sampling.min_tokens, *sampling.max_tokens);
  sampling.n = 1;
  answer.output = llm_.chat(messages, sampling, on_text);
  messages.push_back({"assistant", answer.output.outputs.front().text});
  messages_ = std::move(messages);
  return answer;
}

void ChatSession::save(const std::filesystem::path& path) const {
  Json json = Json::object();
  json.set("messages", to_json(messages_));
  write_file_atomically(path, json.dump(2) + "\n");
}

void ChatSession::load(const std::filesystem::path& path) { messages_ = read_conversation(path); }

std::vector<ChatMessage> read_conversation(const std::filesystem::path& path) {
  const std::string where = path.string();
  const Json json = Json::parse(read_file(path), where);
  const Json& list = json.is_array() ? json : json.at("messages", where);
  std::vector<ChatMessage> messages;
  for (const Json& row : list.as_array(where + ": messages")) {
    const std::string what = fmt::format("{}: message {}", where, messages.size());
    const std::string& role = row.at("role", what).as_string(what + ": role");
    TENON_CHECK(role == "user" || role == "assistant" || (role == "system" && messages.empty()),
                ErrorCode::kCorrupt,
                "{}: role \"{}\"; expected user or assistant, and system in the first place alone",
                what, role);
    messages.push_back({role, row.at("content", what).as_string(what + ": content")});
  }
  return messages;
}

}  // namespace tenon::cli
