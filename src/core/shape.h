// Extents of a dense row-major tensor, outermost first. Products are checked against overflow.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace tenon {

using Shape = std::vector<std::int64_t>;

/// Product of the extents (1 for a scalar). Throws Error{kCorrupt} where an extent is negative
/// or the product passes INT64_MAX; `what` names the tensor.
std::int64_t element_count(const Shape& shape, std::string_view what = "tensor");

/// Bytes of a dense tensor, with the same checks.
std::int64_t byte_count(DataType type, const Shape& shape, std::string_view what = "tensor");

/// "[4096, 128]"
std::string to_string(const Shape& shape);

}  // namespace tenon
