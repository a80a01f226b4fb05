// The report of `inspect`: made as JSON, printed as it is or as text.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/inspect_target.h"
#include "core/json.h"

namespace tenon::cli {

/// With `all_tensors`, every tensor's row besides the sums.
Json inspect_report(const InspectTarget& target, bool all_tensors);

std::string report_as_text(const Json& report);

}  // namespace tenon::cli
