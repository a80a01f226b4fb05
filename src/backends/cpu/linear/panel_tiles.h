// Rows of x times panels on AMX bf16 tiles, for more rows than a decode step has.
//
// A float is the exact sum of three bf16 terms (8 bits of its 24 each, by truncation). Products of
// bf16 are exact in fp32 and tiles add in fp32, so with three terms of x, as many terms of w as its
// form needs (bf16 one, fp16 and one-level int4 two, others three), and all products but those
// below 2^-24 of the largest, the result is a plain fp32 one at 3 to 6 tile products instead of
// one. kPanelAmxBf16 rounds both once and takes one product.
//
// Loops: K blocks of kBlock columns; per block this job's rows of x become terms in tile order
// (A: in L2, 1 KB a tile); per pair of panels the block of w becomes terms in tile order (B: in L1,
// or read where it lies when the weight is bf16); 2 x 2 tiles of sums run over the block's depth
// and are kept in the caller's buffer between blocks. Per 32 columns and product: 4 tile products
// of 16 cycles for at most 4 tile loads of 8 to 16 cycles, so the tile unit is the limit. The next
// pair's weights are prefetched into L2 meanwhile.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/linear/panel_codes.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kTileBytes = 1024;
constexpr std::int64_t kTileColumns = 32;  // of K
constexpr std::int64_t kTileSide = 16;
constexpr std::int64_t kMostTerms = 3;
constexpr std::int64_t kRowsAhead = 3;  // rows of x lie far apart: no prefetcher follows

struct alignas(64) TileConfig {
  std::uint8_t palette;
  std::uint8_t start_row;
  std::uint8_t reserved[14];
  std::uint16_t bytes_per_row[16];
  std::uint8_t rows[16];
};
const TileConfig kTileConfig = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

TENON_INLINE void load_tile_config() {
  asm volatile("" ::: "memory");  // GCC 12 declares eight bytes of the operand as read
  _tile_loadconfig(&kTileConfig);
}

TENON_INLINE __m512i high_halves() { return _mm512_set1_epi32(-65536); }

TENON_INLINE __m512 truncated(__m512 v) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), high_halves()));
}

/// bf16 of each lane's even column in the low half, of its odd column in the high half.
TENON_INLINE __m512i pair_truncated(__m512 even, __m512 odd) {
  return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even), 16),
                         _mm512_and_si512(_mm512_castps_si512(odd), high_halves()));
}

/// The same, to nearest (ties away from zero; weights are finite).
TENON_INLINE __m512i pair_rounded(__m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  return pair_truncated(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(even), half)),
                        _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(odd), half)));
}

/// Terms of one row of one tile of x: 32 columns, in their order or, of each eight, 0 4 1 5 2 6
/// 3 7.
template <int kTerms, bool kFours>
TENON_INLINE void write_x_terms(__m512 low, __m512 high, std::byte* out) {
  if constexpr (kTerms == 1) {
    _mm512_store_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  } else {
    const __m512i upper_words =
        kFours ? _mm512_set_epi16(63, 55, 61, 53, 59, 51, 57, 49, 47, 39, 45, 37, 43, 35, 41, 33,
                                  31, 23, 29, 21, 27, 19, 25, 17, 15, 7, 13, 5, 11, 3, 9, 1)
               : _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33,
                                  31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    for (int term = 0; term < kTerms; ++term) {
      _mm512_store_si512(out + term * kTileBytes,
                         _mm512_permutex2var_epi16(_mm512_castps_si512(low), upper_words,
                                                   _mm512_castps_si512(high)));
      low = _mm512_sub_ps(low, truncated(low));
      high = _mm512_sub_ps(high, truncated(high));
    }
  }
}

/// x rows [0, rows) columns [begin, begin + depth * 32) as tiles [row tile][depth][term]. Rows up
/// to a whole tile pair and columns past the end are zeros.
template <int kTerms, bool kFours = false>
void write_x_tiles(const PanelCall& call, std::int64_t columns, std::int64_t begin,
                   std::int64_t depth, std::byte* out) {
  const std::int64_t tiles = (call.rows + kTileSide - 1) / kTileSide;
  for (std::int64_t tile = 0; tile < tiles; ++tile)
    for (std::int64_t r = 0; r < kTileSide; ++r) {
      const std::int64_t row = tile * kTileSide + r;
      const float* x = call.x + row * call.x_stride + begin;
      std::byte* to = out + tile * depth * kTerms * kTileBytes + r * 64;
      for (std::int64_t d = 0; d < depth; ++d, to += kTerms * kTileBytes) {
        const std::int64_t left = row < call.rows ? columns - begin - d * kTileColumns : 0;
        const auto mask = static_cast<std::uint32_t>(left >= 32  ? 0xFFFFFFFFU
                                                     : left <= 0 ? 0U
                                                                 : (1U << left) - 1U);
        const float* at = mask == 0 ? call.x : x + d * kTileColumns;
        if (row + kRowsAhead < call.rows) {
          __builtin_prefetch(at + kRowsAhead * call.x_stride);
          __builtin_prefetch(at + kRowsAhead * call.x_stride + 16);
        }
        const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), at);
        const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), at + 16);
        write_x_terms<kTerms, kFours>(low, high, to);
      }
    }
}

/// Terms of one pair of columns of one panel.
template <int kTerms>
TENON_INLINE void write_w_terms(__m512 even, __m512 odd, std::byte* out) {
  if constexpr (kTerms == 1) {
    _mm512_store_si512(out, pair_rounded(even, odd));
  } else {
    for (int term = 0; term < kTerms; ++term) {
      _mm512_store_si512(out + term * kTileBytes, pair_truncated(even, odd));
      even = _mm512_sub_ps(even, truncated(even));
      odd = _mm512_sub_ps(odd, truncated(odd));
    }
  }
}

/// One panel's columns [begin, begin + depth * 32) as tiles [depth][term], `stride` bytes a depth.
template <CodeKind kKind, int kTerms>
void write_w_tiles(const PanelMatrix& m, const std::byte* panel, std::int64_t begin,
                   std::int64_t depth, std::int64_t stride, std::byte* out) {
  using C = Codes<kKind>;
  constexpr int kStep = C::kStep < 2 ? 2 : C::kStep;  // columns are stored in pairs
  const C codes(m);
  const std::int64_t end = smaller(begin + depth * kTileColumns, m.stored_columns);
  std::int64_t k = begin;
  const std::byte* at = panel + begin / C::kStep * C::kBytes;
  while (k < end) {
    const std::int64_t chunk = k / m.chunk;
    const std::int64_t stop = smaller((chunk + 1) * m.chunk, end);
    const Vec scale = group_factor(m, panel, smaller(chunk, m.chunks - 1), false);
    const Vec minimum =
        m.minimum ? group_factor(m, panel, smaller(chunk, m.chunks - 1), true) : zero();
    const bool scaled = m.factors != FactorKind::kNone;
    for (; k < stop; k += kStep, at += C::kBytes * kStep / C::kStep) {
      const typename C::Raw raw = C::raw(at);
      typename C::Raw second = raw;
      if constexpr (C::kStep == 1) second = C::raw(at + C::kBytes);
      unrolled<kStep / 2>([&]<int J>() __attribute__((always_inline)) {
        Vec even = codes.template at < C::kStep == 1 ? 0 : 2 * J > (raw);
        Vec odd = codes.template at < C::kStep == 1 ? 0 : 2 * J + 1 > (second);
        if (scaled) {
          even = add(mul(even, scale), minimum);  // as the canonical form says: not fused
          odd = add(mul(odd, scale), minimum);
        }
        const std::int64_t column = k - begin + 2 * J;
        write_w_terms<kTerms>(even.v, odd.v,
                              out + column / kTileColumns * stride + column % kTileColumns * 32);
      });
    }
  }
  for (k = k - begin; k < depth * kTileColumns; k += 2)
    write_w_terms<kTerms>(_mm512_setzero_ps(), _mm512_setzero_ps(),
                          out + k / kTileColumns * stride + k % kTileColumns * 32);
}

/// Where one panel's tiles lie: [depth][term].
struct WeightTiles {
  const std::byte* data;
  std::int64_t stride;  // bytes of one depth
};

struct SumTiles {
  float* sums;          // [rows up to whole tiles][stride]
  std::int64_t stride;  // floats
  bool first;           // start from zero instead of from what is there
};

/// Codes that the next pair of panels will need, fetched while this one is worked on: a few lines a
/// step, since a burst would hold up the tile loads.
struct Upcoming {
  const std::byte* panel;  // null: none
  std::int64_t stride;     // to the second panel
  std::int64_t lines;      // of each
  std::int64_t per_step;

  TENON_INLINE void fetch(const Upcoming& u, std::int64_t step) {
    const std::int64_t begin = step * u.per_step;
    const std::int64_t end = smaller(begin + u.per_step, u.lines);
    for (std::int64_t line = begin; line < end; ++line) {
      _mm_prefetch(reinterpret_cast<const char*>(u.panel + line * 64), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(u.panel + u.stride + line * 64), _MM_HINT_T1);
    }
  }
};

/// kRowTiles x kPanels tiles of sums over `depth` tiles. Products of terms i and j with i + j past
/// the last term are left out.
template <int kRowTiles, int kPanels, int kXTerms, int kWTerms>
TENON_INLINE void tile_products(const std::byte* x, std::int64_t x_stride,
                                const WeightTiles (&w)[2], std::int64_t depth, const SumTiles& out,
                                const Upcoming& next, std::int64_t step) {
  const std::int64_t stride = out.stride * 4;
  float* below = out.sums + kTileSide * out.stride;
  if (out.first) {
    _tile_zero(0);
    if constexpr (kPanels > 1) _tile_zero(1);
    if constexpr (kRowTiles > 1) _tile_zero(2);
    if constexpr (kRowTiles > 1 && kPanels > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, out.sums, stride);
    if constexpr (kPanels > 1) _tile_loadd(1, out.sums + kTileSide, stride);
    if constexpr (kRowTiles > 1) _tile_loadd(2, below, stride);
    if constexpr (kRowTiles > 1 && kPanels > 1) _tile_loadd(3, below + kTileSide, stride);
  }
  const std::byte* w0 = w[0].data;
  const std::byte* w1 = w[1].data;
  for (std::int64_t d = 0; d < depth; ++d) {
    Upcoming::fetch(next, step + d);
    unrolled<kWTerms>([&]<int J>() __attribute__((always_inline)) {
      _tile_loadd(6, w0 + J * kTileBytes, 64);
      if constexpr (kPanels > 1) _tile_loadd(7, w1 + J * kTileBytes, 64);
      unrolled<kXTerms>([&]<int I>() __attribute__((always_inline)) {
        if constexpr (I + J < kMostTerms) {
          _tile_loadd(4, x + I * kTileBytes, 64);
          _tile_dpbf16ps(0, 4, 6);
          if constexpr (kPanels > 1) _tile_dpbf16ps(1, 4, 7);
          if constexpr (kRowTiles > 1) {
            _tile_loadd(5, x + x_stride + I * kTileBytes, 64);
            _tile_dpbf16ps(2, 5, 6);
            if constexpr (kPanels > 1) _tile_dpbf16ps(3, 5, 7);
          }
        }
      });
    });
    x += kXTerms * kTileBytes;
    w0 += w[0].stride;
    w1 += w[1].stride;
  }
  _tile_stored(0, out.sums, stride);
  if constexpr (kPanels > 1) _tile_stored(1, out.sums + kTileSide, stride);
  if constexpr (kRowTiles > 1) _tile_stored(2, below, stride);
  if constexpr (kRowTiles > 1 && kPanels > 1) _tile_stored(3, below + kTileSide, stride);
}

/// The worker's scratch: tiles of x, tiles of a pair of panels, and sums of rows past the last.
struct TileScratch {
  std::byte* x;
  std::byte* w;
  float* last_rows;
};

template <int kXTerms>
constexpr std::int64_t block_columns() {
  return kXTerms == 1 ? 512 : 256;
}

template <int kPanels, int kXTerms, int kWTerms>
void multiply_rows(const PanelCall& call, const TileScratch& scratch, const WeightTiles (&w)[2],
                   std::int64_t depth, float* out, bool first, const Upcoming& next) {
  const std::int64_t x_stride = depth * kXTerms * kTileBytes;
  const std::byte* x = scratch.x;
  std::int64_t row = 0;
  for (; row + 2 * kTileSide <= call.rows; row += 2 * kTileSide, x += 2 * x_stride) {
    tile_products<2, kPanels, kXTerms, kWTerms>(
        x, x_stride, w, depth, {out + row * call.out_stride, call.out_stride, first}, next,
        row / (2 * kTileSide) * depth);
  }
  for (; row + kTileSide <= call.rows; row += kTileSide, x += x_stride)
    tile_products<1, kPanels, kXTerms, kWTerms>(
        x, x_stride, w, depth, {out + row * call.out_stride, call.out_stride, first}, next,
        row / (2 * kTileSide) * depth);
  if (row == call.rows) return;
  // A tile of fewer rows than 16 goes through a buffer that has them all.
  constexpr std::int64_t kWidth = kPanels * kTileSide;
  float* buffer = scratch.last_rows;
  float* rest = out + row * call.out_stride;
  const std::int64_t left = call.rows - row;
  for (std::int64_t r = 0; r < left && !first; ++r)
    for (std::int64_t i = 0; i < kWidth; i += kTileSide)
      store(buffer + r * kWidth + i, load(rest + r * call.out_stride + i));
  tile_products<1, kPanels, kXTerms, kWTerms>(x, x_stride, w, depth, {buffer, kWidth, first}, next,
                                              row / (2 * kTileSide) * depth);
  for (std::int64_t r = 0; r < left; ++r)
    for (std::int64_t i = 0; i < kWidth; i += kTileSide)
      store(rest + r * call.out_stride + i, load(buffer + r * kWidth + i));
}

template <CodeKind kKind, int kXTerms, int kWTerms>
void multiply_part_block(const PanelCall& call, const PanelPart& part, const TileScratch& scratch,
                         std::int64_t begin, std::int64_t depth) {
  const PanelMatrix& m = *part.matrix;
  const bool first = begin == 0;
  constexpr std::int64_t kStepBytes = Codes<kKind>::kBytes;
  const auto codes_at = [](std::int64_t column) {
    return column / Codes<kKind>::kStep * kStepBytes;
  };
  for (std::int64_t p = 0; p < part.count; p += 2) {
    // After the last pair comes the first again, one block further.
    const bool wraps = p + 2 >= part.count;
    const std::int64_t column = wraps ? begin + depth * kTileColumns : begin;
    const std::int64_t upcoming = wraps ? 0 : p + 2;
    Upcoming next = {nullptr, 0, 0, 0};
    if (upcoming + 1 < part.count && column < m.stored_columns) {
      next.panel = m.data + (part.panel + upcoming) * m.panel_bytes + codes_at(column);
      next.stride = m.panel_bytes;
      next.lines = codes_at(smaller(depth * kTileColumns, m.stored_columns - column)) / 64;
      const std::int64_t steps = (call.rows + 2 * kTileSide - 1) / (2 * kTileSide) * depth;
      next.per_step = (next.lines + steps - 1) / steps;
    }
    const std::byte* panel = m.data + (part.panel + p) * m.panel_bytes;
    const bool pair = p + 1 < part.count;
    WeightTiles w[2];
    if constexpr (kKind == CodeKind::kBF16) {
      const std::byte* at = panel + begin / 2 * 64;
      w[0] = {at, kTileBytes};
      w[1] = {at + (pair ? m.panel_bytes : 0), kTileBytes};
    } else {
      const std::int64_t stride = kWTerms * kTileBytes;
      w[0] = {scratch.w, stride};
      w[1] = {scratch.w + depth * stride, stride};
      write_w_tiles<kKind, kWTerms>(m, panel, begin, depth, stride, scratch.w);
      if (pair)
        write_w_tiles<kKind, kWTerms>(m, panel + m.panel_bytes, begin, depth, stride,
                                      scratch.w + depth * stride);
    }
    float* out = part.out + p * kPanelRows;
    if (pair)
      multiply_rows<2, kXTerms, kWTerms>(call, scratch, w, depth, out, first, next);
    else
      multiply_rows<1, kXTerms, kWTerms>(call, scratch, w, depth, out, first, next);
  }
}

template <int kXTerms>
void multiply_tiles(const PanelCall& call) {
  const std::int64_t columns = call.parts[0].matrix->columns;
  const std::int64_t tile_rows = (call.rows + kTileSide - 1) / kTileSide;
  constexpr std::int64_t kBlock = block_columns<kXTerms>();
  TileScratch scratch;
  scratch.x = call.scratch;
  scratch.w = scratch.x + tile_rows * (kBlock / kTileColumns) * kXTerms * kTileBytes;
  scratch.last_rows =
      reinterpret_cast<float*>(scratch.w + 2 * (kBlock / kTileColumns) * kMostTerms * kTileBytes);
  load_tile_config();
  for (std::int64_t begin = 0; begin < columns; begin += kBlock) {
    const std::int64_t depth = (smaller(kBlock, columns - begin) + kTileColumns - 1) / kTileColumns;
    write_x_tiles<kXTerms>(call, columns, begin, depth, scratch.x);
    for (std::int64_t i = 0; i < call.part_count; ++i) {
      const PanelPart& part = call.parts[i];
      const int terms = part.matrix->exact_terms;
      dispatch_codes(part.matrix->codes, [&]<CodeKind kKind>() {
        if constexpr (kXTerms == 1 || kKind == CodeKind::kBF16)
          multiply_part_block<kKind, kXTerms, 1>(call, part, scratch, begin, depth);
        else if (terms == 2)
          multiply_part_block<kKind, kXTerms, 2>(call, part, scratch, begin, depth);
        else
          multiply_part_block<kKind, kXTerms, 3>(call, part, scratch, begin, depth);
      });
    }
  }
  _tile_release();
}

template <int kXTerms>
std::int64_t tile_scratch_bytes(std::int64_t rows) {
  const std::int64_t depth = block_columns<kXTerms>() / kTileColumns;
  const std::int64_t tile_rows = (rows + kTileSide - 1) / kTileSide;
  return tile_rows * depth * kXTerms * kTileBytes + 2 * depth * kMostTerms * kTileBytes +
         2 * kTileBytes;
}

}  // namespace
}  // namespace tenon::cpu
