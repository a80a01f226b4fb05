// Launches that follow a library's matrix product.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "ops/op_common.h"

namespace tenon::cuda {

/// y[rows, width] += bias, in place; y of float32, float16 or bfloat16.
void launch_add_bias(void* y, DataType type, const float* bias, std::int64_t rows,
                     std::int64_t width, cudaStream_t stream);

/// out = act(gate + gate_bias) * (up + up_bias), with gate and up the halves of both[rows, 2 *
/// width]; biases may be null.
void launch_gate(ActivationKind kind, const void* both, DataType both_type, const float* gate_bias,
                 const float* up_bias, void* out, DataType out_type, std::int64_t rows,
                 std::int64_t width, cudaStream_t stream);

}  // namespace tenon::cuda
