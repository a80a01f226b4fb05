// A weight part with its numbers: plain elements, or codes with their scales (see quant_spec.h).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "core/mapping.h"
#include "core/tensor.h"
#include "quant/quant_spec.h"

namespace tenon {

struct QuantizedTensor {
  QuantSpec spec;
  Shape shape;  ///< logical, outermost first; the last extent is the columns, the others the rows

  Tensor codes;  ///< plain elements [shape] where spec is a float kind
  Tensor scale;
  Tensor sub_scale;
  Tensor minimum;
  Tensor sub_minimum;
  Tensor codebook;

  static QuantizedTensor from(Tensor plain);
  /// Owned zeroed tensors of the shapes that `spec` asks for (codebook: int8). Throws what
  /// QuantSpec::check() throws, and Error{kCorrupt} where columns are no multiple of the group.
  static QuantizedTensor empty(const QuantSpec& spec, Shape shape, std::string_view name);

  std::int64_t rows() const;     ///< product of all extents but the last
  std::int64_t columns() const;  ///< last extent
  std::size_t bytes() const;
};

/// Plain elements somebody else owns (a mapped file), as a view kept alive by `owner`; a copy where
/// they do not lie at a multiple of their size. `bytes` must be the shape's.
QuantizedTensor plain_tensor(DataType type, Shape shape, std::span<const std::byte> bytes,
                             std::shared_ptr<const void> owner);

/// Checks that every tensor has the type and shape that spec and shape ask for; throws
/// Error{kCorrupt} naming `name`, expected and got.
void validate(const QuantizedTensor& tensor, std::string_view name);

/// Row `row`, columns [begin, end), as fp32: the specification of every format. Columns may start
/// anywhere.
void dequantize_row(const QuantizedTensor& tensor, std::int64_t row, std::int64_t begin,
                    std::int64_t end, float* out);

/// The whole part as float32 elements.
Tensor dequantize(const QuantizedTensor& tensor);

/// The rectangle rows x columns as a part of its own, of shape [rows, columns] ([columns] where the
/// source has one extent; the source's shape where no row is cut off). A cut of rows alone views
/// the same bytes; a cut of columns copies. Columns must start and end at a multiple of
/// spec.column_unit() or at the end of the row; inside a super-block the new part carries
/// super_phase.
QuantizedTensor slice(const QuantizedTensor& tensor, Range rows, Range columns);

/// Joins parts of one spec along rows (axis 0) or columns (axis 1): the inverse of slice. Along
/// columns the parts' super_phase must be what a cut at that place gives; a super-block that two
/// parts share must have the same scales in both. Throws Error{kCorrupt} naming `name`.
QuantizedTensor concatenate(std::span<const QuantizedTensor> parts, int axis,
                            std::string_view name);

}  // namespace tenon
