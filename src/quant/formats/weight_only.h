// Weight-only quantization by rounding to the nearest code: no calibration, one pass over the rows.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "quant/quantized_tensor.h"

namespace tenon {

struct WeightOnly {
  int bits = 8;                 ///< 2, 3, 4, 5, 6 or 8
  std::int64_t group_size = 0;  ///< columns that share a scale; 0: the whole row
  bool has_minimum = false;     ///< false: symmetric around zero; true: scale and minimum
  DataType scale_type = DataType::kFloat16;
};

/// The spec that quantize_weight_only() gives: symmetric codes are int8 (-127 … 127) or have
/// offset 2^(bits - 1). Of the latter the scale is searched for: the one of least squared error
/// near that which puts the largest value, by its sign, on the lowest code.
QuantSpec weight_only_spec(const WeightOnly& options);

/// `weight`: any floating-point type, [rows, columns] (or more leading extents), read row by row.
/// Each code is the nearest to its value under the scale as stored. Throws Error{kInvalidArgument}
/// naming `name` where columns are no multiple of the group, a value is not finite, or the scale
/// passes the range of scale_type.
QuantizedTensor quantize_weight_only(const TensorView& weight, const WeightOnly& options,
                                     std::string_view name);

/// Rows `rows` of `weight`, plain or of any other form, into those of `out`: of the same shape,
/// made by QuantizedTensor::empty() with weight_only_spec(). Rows may be done by several threads.
void quantize_weight_only(const QuantizedTensor& weight, Range rows, QuantizedTensor& out,
                          std::string_view name);

}  // namespace tenon
