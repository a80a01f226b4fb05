// Refuses a wrong request at the door, with the field's name.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/session.h"
#include "runtime/request.h"

namespace tenon {

/// Number of tokens the request may generate: its max_tokens, cut to what fits `longest`.
/// Throws Error{kInvalidArgument} or Error{kResourceExhausted}.
std::int64_t check_request(const Request& request, const Session& session, std::int64_t longest);

}  // namespace tenon
