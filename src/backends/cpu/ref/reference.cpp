// What several references share.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"

#include <fmt/core.h>

namespace tenon::cpu {

std::string reject_not_float32(const NodeView& node) {
  const auto fits = [](const ValueType& type) {
    return type.kind == ValueKind::kCache || type.dtype == DataType::kFloat32 ||
           type.dtype == DataType::kInt32;
  };
  for (const auto* types : {&node.inputs, &node.outputs})
    for (const ValueType& type : *types)
      if (!fits(type)) return fmt::format("needs float32 values, not {}", to_string(type.dtype));
  return {};
}

std::vector<float> to_floats(const QuantizedTensor& weight) {
  std::vector<float> out(static_cast<std::size_t>(element_count(weight.shape)));
  for (std::int64_t row = 0; row < weight.rows(); ++row)
    dequantize_row(weight, row, 0, weight.columns(), out.data() + row * weight.columns());
  return out;
}

}  // namespace tenon::cpu
