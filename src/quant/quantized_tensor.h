// A weight part with its numbers: plain elements, or codes with their scales (see quant_spec.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "core/mapping.h"
#include "core/tensor.h"
#include "quant/quant_spec.h"

namespace tenon {

struct QuantizedTensor {
  QuantSpec spec;
  Shape shape;  ///< logical: [rows, columns], or any shape where spec is a float kind

  Tensor codes;  ///< plain elements [shape] where spec is a float kind
  Tensor scale;
  Tensor sub_scale;
  Tensor minimum;
  Tensor sub_minimum;
  Tensor codebook;

  static QuantizedTensor from(Tensor plain);

  std::int64_t rows() const;     ///< product of all extents but the last
  std::int64_t columns() const;  ///< last extent
  std::size_t bytes() const;
};

/// Checks that every tensor has the type and shape that spec and shape ask for; throws
/// Error{kCorrupt} naming `name`, expected and got.
void validate(const QuantizedTensor& tensor, std::string_view name);

/// Row `row`, columns [begin, end), as fp32: the specification of every format. Columns may start
/// anywhere.
void dequantize_row(const QuantizedTensor& tensor, std::int64_t row, std::int64_t begin,
                    std::int64_t end, float* out);

/// The whole part as float32 elements.
Tensor dequantize(const QuantizedTensor& tensor);

/// The rectangle rows x columns as a part of its own. A cut of rows alone views the same bytes; a
/// cut of columns copies. Columns must start and end at a multiple of spec.column_unit(); inside a
/// super-block the new part carries super_phase.
QuantizedTensor slice(const QuantizedTensor& tensor, Range rows, Range columns);

/// Joins parts of one spec along rows (axis 0) or columns (axis 1): the inverse of slice.
QuantizedTensor concatenate(std::span<const QuantizedTensor> parts, int axis,
                            std::string_view name);

}  // namespace tenon
