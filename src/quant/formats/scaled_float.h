// fp8 weights by rounding to the nearest number, after a scale that puts the largest magnitude on
// float8_e4m3's largest, 448. No calibration.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "quant/quantized_tensor.h"

namespace tenon {

/// Largest finite magnitude of float8_e4m3.
inline constexpr float kLargestE4M3 = 448.0F;

/// Largest magnitude in rows `rows` of `weight`, plain or of any form. Throws
/// Error{kInvalidArgument} naming `name` where a value is not finite.
float largest_magnitude(const QuantizedTensor& weight, Range rows, std::string_view name);

/// Rows `rows` of `weight` into those of `out`, of the same shape, made by QuantizedTensor::empty()
/// with QuantSpec::scaled_float(float8_e4m3). `largest` is the magnitude that the code of 448
/// stands for: the whole weight's, also where `weight` is a cut of it. Rows may be done by several
/// threads.
void quantize_scaled_float(const QuantizedTensor& weight, Range rows, float largest,
                           QuantizedTensor& out);

}  // namespace tenon
