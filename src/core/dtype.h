// Element types: sizes and names.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "tenon/types.h"

namespace tenon {

/// Bytes of one element.
std::size_t size_of(DataType type) noexcept;

/// Accepts to_string()'s names and the usual short ones ("fp16", "half", "bf16", "torch.float16",
/// safetensors' "F16"). Throws Error{kInvalidArgument}; `what` names the field or flag.
DataType parse_data_type(std::string_view name, std::string_view what);

bool is_floating_point(DataType type) noexcept;

}  // namespace tenon
