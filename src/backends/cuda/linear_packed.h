// PackedLinear: matrices of a linear node joined by rows, in the one layout that all kernels of the
// node read; and which forms of weight have it.
//
// Row-major, each row padded to whole lines of 64 bytes. Lane t of a quad takes 16 bytes of a line:
//   k16Bit   the elements as they are: columns 8 t … 8 t + 7 of the line's 32. Not padded: cuBLASLt
//            reads the same matrix.
//   kFloat8  columns 8 t … of the first 32, then of the second 32; with or without a scale a row
//   kInt8    likewise, two's complement, four codes c0 … c3 as bytes c0 c2 c1 c3
//   kInt4    eight columns of each of four runs of 32; of codes c0 … c7 nibble i is c(2 i), nibble
//            4 + i is c(2 i + 1)
// so that a line is the operand of one to four tensor-core steps of 32 columns, each inside one
// group. Padding has code 0. Scales (and minima): fp32 [rows] where a row has one; else
// [rows][groups], 16-bit as in the files, or fp32 (two-level scales multiplied out), one a group,
// groups of 64 columns written twice: runs of 32 and lines of 128 are all that kernels know.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backends/cuda/cuda_kernel.h"
#include "tenon/types.h"

namespace tenon::cuda {

enum class CodeKind : std::uint8_t { k16Bit, kFloat8, kInt8, kInt4 };

/// Columns of one 64-byte line.
constexpr int line_columns(CodeKind kind) {
  return kind == CodeKind::k16Bit ? 32 : kind == CodeKind::kInt4 ? 128 : 64;
}

/// How often the scale changes along a row.
enum class ScaleStep : std::uint8_t {
  kRow,   ///< never; there may be none at all
  kRun,   ///< every 32 columns
  kLine,  ///< every 128, or a multiple
};

/// On the device.
struct PackedMatrix {
  CodeKind kind = CodeKind::k16Bit;
  ScaleStep step = ScaleStep::kRow;
  DataType float_type = DataType::kBFloat16;  ///< of 16-bit elements
  DataType scale_type = DataType::kFloat32;
  const std::uint8_t* codes = nullptr;
  const void* scale = nullptr;    ///< null: 1
  const void* minimum = nullptr;  ///< null: 0; added
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_bytes = 0;
  std::int32_t scale_stride = 0;  ///< scales of a row
  std::int32_t line_shift = 0;    ///< kLine: a scale holds for 2^line_shift runs of 128 columns
  std::uint32_t code_offset = 0;  ///< kInt4: 128 + the offset, as bfloat16
};

/// The layout of a node's first `count` weights, joined by rows, for x as stored in `x_type`.
/// Pointers are null. Where it has none, `why` says so.
struct PackedForm {
  PackedMatrix matrix;
  std::string why;  ///< empty: it has one
};
PackedForm packed_form(const NodeView& node, std::size_t count, DataType x_type);

/// What load_packed() asks for. 16-bit elements are kept as cuBLASLt's kernels keep them.
std::vector<PackedNeed> packed_needs(const NodeView& node, std::size_t count,
                                     const PackedMatrix& form);
PackedMatrix load_packed(const NodeView& node, const Weights& weights, std::size_t count,
                         PackedMatrix form, LoadContext& load);

}  // namespace tenon::cuda
