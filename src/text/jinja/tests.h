// Tests: value is name(arguments).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

bool apply_test(Runtime& runtime, std::string_view name, const Value& subject, Args& args);

}  // namespace tenon::jinja
