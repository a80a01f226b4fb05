// Global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string_view>

#include "text/jinja/runtime.h"

namespace tenon::jinja {

void define_globals(Runtime& runtime,
                    const std::function<void(std::string_view, const Value&)>& define);

}  // namespace tenon::jinja
