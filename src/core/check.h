// Raising errors: TENON_CHECK for bad input, TENON_ASSERT for our own bugs.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/core.h>

#include <utility>

#include "tenon/error.h"

namespace tenon {

/// Throws Error{code, formatted message}. The message says what, where, expected, got, way out.
template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void fail_assert(const char* condition, const char* file, int line);

}  // namespace tenon

/// Bad input: TENON_CHECK(condition, ErrorCode::kCorrupt, "[gguf] {}: …", path).
#define TENON_CHECK(condition, code, ...) \
  do {                                    \
    if (!(condition)) [[unlikely]]        \
      ::tenon::fail((code), __VA_ARGS__); \
  } while (false)

/// A condition no input can break; reports a bug in Tenon as ErrorCode::kInternal.
#define TENON_ASSERT(condition)                             \
  do {                                                      \
    if (!(condition)) [[unlikely]]                          \
      ::tenon::fail_assert(#condition, __FILE__, __LINE__); \
  } while (false)
