// Storage types: a program's values are float32; here it is decided which of them the device holds
// in 16 bits. Values that only linears read are rounded to what those multiply with; queries, keys
// and values to what the cache holds (bfloat16 where that has 8 bits). The residual stream, norms'
// inputs and logits stay float32; what is read after a step is converted then.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "backends/backend.h"

namespace tenon::cuda {

/// The element type of each value of the program as stored: the program's own, or a 16-bit one
/// where policy.activation allows it (float16 where all weights that read the value are float16,
/// else bfloat16).
std::vector<DataType> storage_types(const ProgramDescription& program);

}  // namespace tenon::cuda
