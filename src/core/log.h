// Diagnostics on stderr. TENON_LOG=CATEGORY[,CATEGORY…] turns categories on ("dispatch", "load",
// "cache", "scheduler", or "all"); warnings are always shown.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace tenon::log {

bool enabled(std::string_view category);
void write(std::string_view category, std::string_view message);

template <class... Args>
void note(std::string_view category, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(category)) write(category, fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write("warning", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tenon::log
