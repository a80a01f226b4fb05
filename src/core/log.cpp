// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/nearest_name.h"

namespace tenon::log {
namespace {

constexpr std::string_view kAll = "all";

std::vector<std::string> words_of(std::string_view wanted) {
  std::vector<std::string> words(1);
  for (const char c : wanted) {
    if (c == ',')
      words.emplace_back();
    else if (c != ' ')
      words.back() += c;
  }
  std::erase(words, "");
  return words;
}

std::vector<std::string> wanted_topics() {
  const char* variable = std::getenv("TENON_LOG");
  const std::string wanted = variable == nullptr ? "" : variable;
  const std::string unknown = unknown_topics(wanted);
  std::fwrite(unknown.data(), 1, unknown.size(), stderr);
  return words_of(wanted);
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

std::string unknown_topics(std::string_view wanted) {
  std::vector<std::string> known(kTopics.begin(), kTopics.end());
  known.emplace_back(kAll);
  std::string lines;
  const std::vector<std::string> words = words_of(wanted);
  for (const std::string& word : words) {
    if (contains(known, word)) continue;
    lines += fmt::format("[tenon warning] TENON_LOG: no topic \"{}\"{}", word,
                         did_you_mean(word, known));
    lines += "; topics: ";
    for (const std::string& topic : known) lines += topic + (topic == known.back() ? "\n" : ", ");
  }
  return lines;
}

bool enabled(std::string_view topic) {
  static const std::vector<std::string> wanted = wanted_topics();
  return contains(wanted, topic) || contains(wanted, kAll);
}

void write(std::string_view topic, std::string_view message) {
  const std::string line = fmt::format("[tenon {}] {}\n", topic, message);
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call: lines of threads do not mix
}

}  // namespace tenon::log
