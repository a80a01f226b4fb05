// Rows of x times panels in fp32, at any number of rows with the same sums in the same order.
//
// Few rows (decode): a sweep over kSweepPanels panels at once, each code decoded in registers and
// used for all rows; memory-bound, so the aim is that decoding stays below the time of the loads
// (int4 with AVX-512: a shift, a permute and an FMA for 16 weights). Panels give the independent
// chains that hide the FMA's latency, since within a panel the order is fixed.
// Many rows (prefill): about 64 columns of kTilePanels panels are decoded once into a scratch that
// stays in L1 (4 panels x 64 x 64 B = 16 KB; rows of x often lie 4 KB x n apart, so they compete
// for the same sets and need the other half), then kTileRows rows at a time run over it; the sums
// lie in the caller's buffer between blocks. Bound by FMAs: 10 loads for 24 FMAs.
// Both add a chunk's products in one chain and then fold it in: sum = scale * chain + sum.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/linear/panel_codes.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kBlockColumns = 64;  // chunks are at most this long

/// One part of a PanelCall.
struct PartCall : PanelPart {
  const float* x;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t out_stride;
  std::byte* scratch;
};

template <CodeKind kKind>
constexpr std::int64_t swept_columns(const PanelMatrix& m) {
  constexpr std::int64_t kStep = Codes<kKind>::kStep;
  return (m.columns + kStep - 1) / kStep * kStep;
}

template <int kRows, int kPanels>
TENON_INLINE void fold(const PartCall& call, std::int64_t row, const std::byte* panel,
                       std::int64_t chunk, const Vec (&chain)[kRows][kPanels],
                       Vec (&sum)[kRows][kPanels]) {
  const PanelMatrix& m = *call.matrix;
  if (m.factors == FactorKind::kNone) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) sum[r][p] = add(sum[r][p], chain[r][p]);
    return;
  }
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
    const Vec scale = group_factor(m, panel + p * m.panel_bytes, chunk, false);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sum[r][p] = fma(scale, chain[r][p], sum[r][p]);
  }
  if (!m.minimum) return;
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
    const Vec minimum = group_factor(m, panel + p * m.panel_bytes, chunk, true);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const Vec x_sum = set1(call.sums[(row + r) * m.chunks + chunk]);
      sum[r][p] = fma(minimum, x_sum, sum[r][p]);
    }
  }
}

/// kRows rows from `row`, kPanels panels from call.panel + first.
template <CodeKind kKind, int kRows, int kPanels>
void sweep(const PartCall& call, std::int64_t row, std::int64_t first) {
  using C = Codes<kKind>;
  const PanelMatrix& m = *call.matrix;
  const C codes(m);
  const std::int64_t panel_bytes = m.panel_bytes;
  const std::byte* panel = m.data + (call.panel + first) * panel_bytes;
  const std::byte* at = panel;
  const float* x = call.x + row * call.x_stride;
  const std::int64_t x_stride = call.x_stride;
  const std::int64_t columns = swept_columns<kKind>(m);
  Vec sum[kRows][kPanels];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p) sum[r][p] = zero();
  for (std::int64_t chunk = 0; chunk < m.chunks; ++chunk) {
    const std::int64_t end = smaller((chunk + 1) * m.chunk, columns);
    Vec chain[kRows][kPanels];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) chain[r][p] = zero();
    for (std::int64_t k = chunk * m.chunk; k < end; k += C::kStep, at += C::kBytes) {
      typename C::Raw raw[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) raw[p] = C::raw(at + p * panel_bytes);
      unrolled<C::kStep>([&]<int J>() __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) {
          const Vec w = codes.template at<J>(raw[p]);
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r)
            chain[r][p] = fma(w, set1(x[r * x_stride + k + J]), chain[r][p]);
        }
      });
    }
    fold<kRows, kPanels>(call, row, panel, chunk, chain, sum);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; ++p)
      store(call.out + (row + r) * call.out_stride + (first + p) * kPanelRows, sum[r][p]);
}

/// What a tile of rows reads: values [column][panel][16] of one block of chunks, unscaled, and the
/// factors [chunk][panel][16] beside them.
struct DecodedBlock {
  float* values;
  float* scales;
  float* minima;
  std::int64_t first_chunk;
  std::int64_t chunks;
  std::int64_t columns;  // swept ones, of the whole matrix
};

template <CodeKind kKind, int kPanels>
void decode(const PanelMatrix& m, const std::byte* panel, const DecodedBlock& block) {
  using C = Codes<kKind>;
  const C codes(m);
  const std::int64_t begin = block.first_chunk * m.chunk;
  const std::int64_t end = smaller(begin + block.chunks * m.chunk, block.columns);
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; ++p) {
    const std::byte* at = panel + p * m.panel_bytes + begin / C::kStep * C::kBytes;
    float* out = block.values + p * kPanelRows;
    for (std::int64_t k = begin; k < end; k += C::kStep, at += C::kBytes) {
      const typename C::Raw raw = C::raw(at);
      unrolled<C::kStep>([&]<int J>() __attribute__((always_inline)) {
        store(out + J * kPanels * kPanelRows, codes.template at<J>(raw));
      });
      out += C::kStep * kPanels * kPanelRows;
    }
    if (m.factors == FactorKind::kNone) continue;
    for (std::int64_t c = 0; c < block.chunks; ++c) {
      const std::int64_t chunk = block.first_chunk + c;
      const std::byte* base = panel + p * m.panel_bytes;
      const std::int64_t slot = (c * kPanels + p) * kPanelRows;
      store(block.scales + slot, group_factor(m, base, chunk, false));
      if (m.minimum) store(block.minima + slot, group_factor(m, base, chunk, true));
    }
  }
}

template <int kRows, int kPanels>
void tile(const PartCall& call, const DecodedBlock& block, std::int64_t row, std::int64_t first) {
  const PanelMatrix& m = *call.matrix;
  const float* x = call.x + row * call.x_stride;
  const std::int64_t x_stride = call.x_stride;
  const float* w = block.values;
  float* out = call.out + row * call.out_stride + first * kPanelRows;
  for (std::int64_t c = 0; c < block.chunks; ++c) {
    const std::int64_t chunk = block.first_chunk + c;
    const std::int64_t end = smaller((chunk + 1) * m.chunk, block.columns);
    Vec chain[kRows][kPanels];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) chain[r][p] = zero();
    for (std::int64_t k = chunk * m.chunk; k < end; ++k, w += kPanels * kPanelRows) {
      Vec values[kPanels];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) values[p] = load(w + p * kPanelRows);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec xs = set1(x[r * x_stride + k]);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; ++p) chain[r][p] = fma(values[p], xs, chain[r][p]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      float* sums = out + r * call.out_stride;
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; ++p) {
        Vec sum = chunk == 0 ? zero() : load(sums + p * kPanelRows);
        const std::int64_t slot = (c * kPanels + p) * kPanelRows;
        if (m.factors == FactorKind::kNone)
          sum = add(sum, chain[r][p]);
        else
          sum = fma(load(block.scales + slot), chain[r][p], sum);
        if (m.minimum)
          sum = fma(load(block.minima + slot), set1(call.sums[(row + r) * m.chunks + chunk]), sum);
        store(sums + p * kPanelRows, sum);
      }
    }
  }
}

template <int kRows, int kPanels>
TENON_INLINE void last_tile(const PartCall& call, const DecodedBlock& block, std::int64_t row,
                            std::int64_t first) {
  if constexpr (kRows > 0) {
    if (call.rows - row == kRows) return tile<kRows, kPanels>(call, block, row, first);
    last_tile<kRows - 1, kPanels>(call, block, row, first);
  }
}

/// Rows of x lie far apart, where no hardware prefetcher follows: asks for the next tile's.
TENON_INLINE void prefetch_rows(const PartCall& call, std::int64_t row, std::int64_t begin,
                                std::int64_t end) {
  const std::int64_t stop = smaller(row + kTileRows, call.rows);
  for (; row < stop; ++row)
    for (std::int64_t k = begin; k < end; k += 16)
      __builtin_prefetch(call.x + row * call.x_stride + k);
}

/// One block of chunks for kPanels panels from `first`, all rows.
template <CodeKind kKind, int kPanels>
void multiply_block(const PartCall& call, const DecodedBlock& block, std::int64_t first) {
  const PanelMatrix& m = *call.matrix;
  decode<kKind, kPanels>(m, m.data + (call.panel + first) * m.panel_bytes, block);
  const std::int64_t begin = block.first_chunk * m.chunk;
  const std::int64_t end = smaller(begin + block.chunks * m.chunk, block.columns);
  std::int64_t row = 0;
  for (; row + kTileRows <= call.rows; row += kTileRows) {
    prefetch_rows(call, row + kTileRows, begin, end);
    tile<kTileRows, kPanels>(call, block, row, first);
  }
  last_tile<kTileRows - 1, kPanels>(call, block, row, first);
}

/// Blocks outside, panels inside: the block's columns of x stay in cache for all panels.
template <CodeKind kKind>
void multiply_many(const PartCall& call) {
  const PanelMatrix& m = *call.matrix;
  const std::int64_t block_chunks = m.chunk >= kBlockColumns ? 1 : kBlockColumns / m.chunk;
  DecodedBlock block;
  block.values = reinterpret_cast<float*>(call.scratch);
  block.scales = block.values + kBlockColumns * kTilePanels * kPanelRows;
  block.minima = block.scales + kBlockColumns * kTilePanels * kPanelRows;
  block.columns = swept_columns<kKind>(m);
  for (std::int64_t chunk = 0; chunk < m.chunks; chunk += block_chunks) {
    block.first_chunk = chunk;
    block.chunks = smaller(block_chunks, m.chunks - chunk);
    std::int64_t first = 0;
    for (; first + kTilePanels <= call.count; first += kTilePanels)
      multiply_block<kKind, kTilePanels>(call, block, first);
    if constexpr (kTilePanels >= 4)
      for (; first + 2 <= call.count; first += 2) multiply_block<kKind, 2>(call, block, first);
    for (; first < call.count; ++first) multiply_block<kKind, 1>(call, block, first);
  }
}

template <CodeKind kKind, int kPanels>
void multiply_few(const PartCall& call, std::int64_t first) {
  std::int64_t row = 0;
  if constexpr (kWideSweeps && kPanels == 2)
    for (; row + 8 <= call.rows; row += 8) sweep<kKind, 8, kPanels>(call, row, first);
  if constexpr (kSweepRows >= 4)
    for (; row + 4 <= call.rows; row += 4) sweep<kKind, 4, kPanels>(call, row, first);
  if constexpr (kSweepRows >= 2)
    for (; row + 2 <= call.rows; row += 2) sweep<kKind, 2, kPanels>(call, row, first);
  for (; row < call.rows; ++row) sweep<kKind, 1, kPanels>(call, row, first);
}

template <CodeKind kKind>
void multiply_as(const PartCall& call) {
  std::int64_t first = 0;
  if (call.rows <= kSweepRows) {
    if (!kWideSweeps || call.rows < 8)
      for (; first + kSweepPanels <= call.count; first += kSweepPanels)
        multiply_few<kKind, kSweepPanels>(call, first);
    if constexpr (kSweepPanels >= 4)
      for (; first + 2 <= call.count; first += 2) multiply_few<kKind, 2>(call, first);
    for (; first < call.count; ++first) multiply_few<kKind, 1>(call, first);
    return;
  }
  multiply_many<kKind>(call);
}

void multiply_part(const PartCall& call) {
  dispatch_codes(call.matrix->codes, [&]<CodeKind kKind>() { multiply_as<kKind>(call); });
}

void multiply(const PanelCall& call) {
  for (std::int64_t i = 0; i < call.part_count; ++i)
    multiply_part({call.parts[i], call.x, call.x_stride, call.rows, call.out_stride, call.scratch});
}

std::int64_t scratch_bytes(std::int64_t rows, std::int64_t /*columns*/) {
  if (rows <= kSweepRows) return 0;
  return 3 * kBlockColumns * kTilePanels * kPanelRows * static_cast<std::int64_t>(sizeof(float));
}

void chunk_sums(const float* x, std::int64_t columns, std::int64_t chunk, float* sums) {
  for (std::int64_t begin = 0; begin < columns; begin += chunk, ++sums) {
    const std::int64_t end = smaller(begin + chunk, columns);
    Vec lanes = zero();
    std::int64_t k = begin;
    for (; k + kPanelRows <= end; k += kPanelRows) lanes = add(lanes, load(x + k));
    float parts[kPanelRows];
    store(parts, lanes);
    for (int width = kPanelRows / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
    float sum = parts[0];
    for (; k < end; ++k) sum += x[k];
    *sums = sum;
  }
}

}  // namespace
}  // namespace tenon::cpu
