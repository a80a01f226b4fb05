// Panels: the packed form of a weight matrix, and the functions that one instruction set offers on
// it. Plain data and function pointers only: files compiled for one instruction set include this.
//
// A matrix [N, K] is cut into panels of 16 rows, one vector lane a row. A panel is its codes, then
// its factors (scales and minima), all in the order in which a sweep over K needs them:
//   codes    kF32, kF16   [K][16 rows]
//            kBF16        [K / 2][16 rows][2]   the tile layout of AMX, K padded to 32
//            kI8          [K / 4][16 rows][4]   signed
//            kI4, kLut4   [K / 8][16 rows] 32-bit words of eight nibbles, lowest column first
//   factors  a group each: 16 scales, then 16 minima where the matrix has them
//   supers   two-level only, a super-block each: 16 scales, then 16 minima
// Sums run over one chunk (at most 64 columns, inside one group) in ascending K, then over chunks
// in ascending order. Every path of an instruction set that claims row invariance keeps to that.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/op_common.h"

namespace tenon::cpu {

inline constexpr std::int64_t kPanelRows = 16;

enum class CodeKind : std::uint8_t { kF32, kF16, kBF16, kI8, kI4, kLut4 };

enum class FactorKind : std::uint8_t {
  kNone,  ///< codes are the values
  kF32,
  kF16,
  kSubU8,  ///< unsigned byte times the super-block's factor
  kSubI8,  ///< signed scales; minima are unsigned bytes still
};

struct PanelMatrix {
  CodeKind codes = CodeKind::kF32;
  FactorKind factors = FactorKind::kNone;
  bool minimum = false;
  bool super_half = false;  ///< supers are fp16, not fp32
  /// Sums still want a factor a row, which the packed weight has beside the panels.
  bool row_scaled = false;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t stored_columns = 0;  ///< with padding
  std::int64_t chunk = 64;          ///< columns of one accumulation chain
  std::int64_t chunks = 0;
  int group_shift = 0;  ///< group = chunk index >> group_shift
  int super_shift = 0;  ///< super-block = (chunk index + super_phase) >> super_shift
  std::int64_t super_phase = 0;
  std::int64_t panels = 0;
  std::int64_t panel_bytes = 0;
  std::int64_t factor_offset = 0;  ///< from a panel's start
  std::int64_t factor_stride = 0;  ///< bytes of one group's factors
  std::int64_t super_offset = 0;
  std::int64_t super_stride = 0;
  const std::byte* data = nullptr;
  int code_offset = 0;             ///< kI4: value = nibble - code_offset
  int exact_terms = 3;             ///< bf16 terms whose sum is every value exactly
  alignas(64) float lut[16] = {};  ///< kI4, kLut4: value of each nibble
};

/// Panels [panel, panel + count) of one matrix, and where their sums go.
struct PanelPart {
  const PanelMatrix* matrix;
  std::int64_t panel;
  std::int64_t count;
  const float* sums;  ///< [rows][chunks]: sums of x over chunks; only where matrix->minimum
  float* out;         ///< out[row * out_stride + p * 16 + lane]
};

/// Rows of x times panels of matrices that have the same columns.
struct PanelCall {
  const float* x;  ///< readable up to the columns rounded up to 8, zeros there
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t out_stride;
  const PanelPart* parts;
  std::int64_t part_count;
  std::byte* scratch;      ///< of this worker, 64-byte aligned
  std::int64_t first_row;  ///< where `x` begins in the rows that the caller multiplies
  /// What the scratch keeps from this worker's call before: a form of the rows from this one, as
  /// many columns; -1: nothing. To be kept up by functions that use the scratch.
  std::int64_t* kept_row;
};

/// act(gate + gate_bias) * (up + up_bias); biases may be null.
struct GateCall {
  ActivationKind kind;
  const float* gate;
  const float* up;
  const float* gate_bias;
  const float* up_bias;
  float* out;
  std::int64_t count;
};

struct PanelIsa {
  void (*multiply)(const PanelCall& call);
  /// Bytes of PanelCall::scratch for a call of at most `rows` rows.
  std::int64_t (*scratch_bytes)(std::int64_t rows, std::int64_t columns);
  void (*chunk_sums)(const float* x, std::int64_t columns, std::int64_t chunk, float* sums);
  void (*store)(const float* sums, const float* bias, float* out, std::int64_t count);
  void (*gate)(const GateCall& call);
  std::int64_t block_rows;    ///< rows of x that one job should take
  std::int64_t block_panels;  ///< panels that one job of many rows should take
};

extern const PanelIsa kPanelBaseline;
extern const PanelIsa kPanelAvx2;
extern const PanelIsa kPanelAvx512;
extern const PanelIsa kPanelAmx;      ///< inputs and weights as sums of bf16 terms: fp32-exact
extern const PanelIsa kPanelAmxBf16;  ///< both rounded to bf16 once

}  // namespace tenon::cpu
