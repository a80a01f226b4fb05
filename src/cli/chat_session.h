// ChatSession: a conversation with a model: its messages, and what is left out of them where they
// no longer fit.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "tenon/llm.h"

namespace tenon::cli {

struct Answer {
  RequestOutput output;
  std::size_t dropped = 0;  ///< old messages that no longer fit and were forgotten
};

class ChatSession {
 public:
  /// `max_output_len` 0: as long as the context allows.
  ChatSession(LLM& llm, const SamplingParams& sampling, std::int64_t max_output_len);

  const std::vector<ChatMessage>& messages() const { return messages_; }

  /// An empty text removes it. The rest of the conversation stays.
  void set_system(const std::string& text);
  /// Forgets the conversation; the system text stays.
  void reset();

  /// Asks, and adds question and answer. Where it throws, the conversation is as before.
  Answer ask(const std::string& text, const OnText& on_text);

  /// {"messages": [{"role", "content"}, …]}
  void save(const std::filesystem::path& path) const;
  /// read_conversation(); where it throws, the conversation is as before.
  void load(const std::filesystem::path& path);

 private:
  bool has_system() const { return !messages_.empty() && messages_.front().role == "system"; }

  LLM& llm_;
  SamplingParams sampling_;
  std::int64_t max_output_len_;
  std::vector<ChatMessage> messages_;
};

/// The messages of a file that ChatSession::save wrote, or of the bare array. Throws
/// Error{kCorrupt}.
std::vector<ChatMessage> read_conversation(const std::filesystem::path& path);

}  // namespace tenon::cli
