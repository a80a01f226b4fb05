// SPDX-License-Identifier: Apache-2.0
#include "quant/formats/scaled_float.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/half.h"

namespace tenon {

float largest_magnitude(const QuantizedTensor& weight, Range rows, std::string_view name) {
  const std::int64_t columns = weight.columns();
  std::vector<float> row(static_cast<std::size_t>(columns));
  float largest = 0.0F;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    dequantize_row(weight, r, 0, columns, row.data());
    for (const float value : row) {
      TENON_CHECK(std::isfinite(value), ErrorCode::kInvalidArgument,
                  "{}: has the value {}; only finite weights can be quantized", name, value);
      largest = std::max(largest, std::fabs(value));
    }
  }
  return largest;
}

void quantize_scaled_float(const QuantizedTensor& weight, Range rows, float largest,
                           QuantizedTensor& out) {
  TENON_ASSERT(weight.shape == out.shape &&
               out.spec == QuantSpec::scaled_float(DataType::kFloat8E4M3));
  const std::int64_t columns = out.columns();
  const float scale = largest / kLargestE4M3;
  std::vector<float> row(static_cast<std::size_t>(columns));
  for (std::int64_t r = rows.begin; r < rows.end; ++r) {
    dequantize_row(weight, r, 0, columns, row.data());
    for (float& value : row) value = scale == 0.0F ? 0.0F : value / scale;
    convert_from_float(DataType::kFloat8E4M3, row.data(), out.codes.mutable_data() + r * columns,
                       row.size());
    out.scale.mutable_as<float>()[r] = scale;
  }
}

}  // namespace tenon
