// Diagnostics on stderr. TENON_LOG=TOPIC[,TOPIC…] turns topics on: those of kTopics, or "all".
// Warnings are always shown.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/core.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace tenon::log {

/// dispatch: kernels chosen, and why not better ones; load: the memory plan; cache: engines made,
/// found and evicted.
inline constexpr std::array<std::string_view, 3> kTopics = {"dispatch", "load", "cache"};

/// The first call warns of what TENON_LOG names and is no topic.
bool enabled(std::string_view topic);
void write(std::string_view topic, std::string_view message);

/// A line for each word of `wanted` (TENON_LOG's value) that is no topic, with the nearest topic
/// and the list.
std::string unknown_topics(std::string_view wanted);

template <class... Args>
void note(std::string_view topic, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(topic)) write(topic, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write("warning", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tenon::log
