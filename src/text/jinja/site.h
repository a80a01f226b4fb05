// Where in which template something happens, and errors that say so.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/check.h"

namespace tenon::jinja {

struct Site {
  std::string_view where;  ///< name of the template's source
  int line = 1;
};

/// Throws Error{code}: "[chat template] <where>, line <n>: <message>".
template <class... Args>
[[noreturn]] void fail_at(const Site& site, ErrorCode code, fmt::format_string<Args...> format,
                          Args&&... args) {
  fail(code, "[chat template] {}, line {}: {}", site.where, site.line,
       fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace tenon::jinja
