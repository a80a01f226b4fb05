// current_error(): what is being handled, as an Error, even where memory ran out.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tenon/error.h"

namespace tenon {

/// Call in a catch block. An Error stays what it is; std::bad_alloc becomes kResourceExhausted;
/// anything else kInternal, with `doing` before its message ("a callback threw: "). Never throws.
Error current_error(const char* doing = "") noexcept;

}  // namespace tenon
