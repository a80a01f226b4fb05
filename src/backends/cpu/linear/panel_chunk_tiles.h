// Rows of x times panels on AMX bf16 tiles, for codes that are bf16 numbers in groups of whole
// tiles (32 columns): int4 and int8 in groups of 32 or more, codebooks of short values.
//
// Such codes go into the tiles as they are, one term each, and the factors wait for the sums of a
// chunk, as in panel_multiply.h: sum = scale * chain + sum, then minimum * (sum of x) + sum. So 32
// columns take 3 tile products (the terms of x) where panel_tiles.h, whose weights are scaled first
// and want up to three terms, takes 5 or 6, and unpacking 32 nibbles is a shift and a permute.
//
// Loops: K blocks of 64 columns; per two tiles of rows (12 KB of terms, in L1) all pairs of panels;
// a pair is unpacked when the first rows need it. Chunks' 2 x 2 tiles of sums go to a buffer, and
// are folded into the caller's while the tile unit is at the next pair. Per chunk of 32 columns and
// 2 x 2 tiles: 12 products of 16 cycles, and about 60 cycles more to store the sums, which nothing
// hides (measured); folding and unpacking hide in part.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/linear/panel_tiles.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kChunkBlock = 64;  // columns
constexpr std::int64_t kBlockDepth = kChunkBlock / kTileColumns;
constexpr std::int64_t kPairsAhead = 3;  // whose codes are fetched: what memory takes to answer
constexpr std::int64_t kMostKept = 512 << 10;          // bytes of terms of x
constexpr std::int64_t kChunkSlots = 32;               // unpacked panels that are kept
constexpr std::int64_t kFactorFloats = 2 * kTileSide;  // scales, then minima
constexpr std::int64_t kSlotBytes =
    kBlockDepth * (kTileBytes + kFactorFloats * static_cast<std::int64_t>(sizeof(float)));

/// Chunks of whole tiles, of codes that bf16 has.
TENON_INLINE bool has_chunk_tiles(const PanelMatrix& m) {
  if (m.factors == FactorKind::kNone || m.chunk % kTileColumns != 0) return false;
  if (m.codes == CodeKind::kI8) return true;
  if (m.codes != CodeKind::kI4 && m.codes != CodeKind::kLut4) return false;
  const __m512i low_half = _mm512_set1_epi32(0xFFFF);
  return _mm512_test_epi32_mask(_mm512_loadu_si512(m.lut), low_half) == 0;
}

/// Tiles of a panel pair columns j and j + 4 of each eight, as a shift of eight nibbles does; so
/// do those of x (write_x_tiles<3, true>).
template <CodeKind kKind>
struct TileCodes {
  static constexpr std::int64_t kBytes = Codes<kKind>::kBytes * 8 / Codes<kKind>::kStep;  // of 8
  __m512i lut;  // bf16, the sixteen twice: the permute looks at five bits
  explicit TileCodes(const PanelMatrix& m) {
    const __m512i values = _mm512_loadu_si512(m.lut);
    const __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(values, 16));
    lut = _mm512_broadcast_i64x4(half);
  }

  template <int J>
  __m512i pair(const std::byte* eight) const {
    if constexpr (kKind == CodeKind::kI8) {
      const Vec even = int8_at<J>(load_words(eight));
      const Vec odd = int8_at<J>(load_words(eight + 64));
      return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(even.v), 16),
                             _mm512_castps_si512(odd.v));
    } else {
      return _mm512_permutexvar_epi16(_mm512_srli_epi32(load_words(eight).v, 4 * J), lut);
    }
  }
};

/// One panel's columns [begin, begin + depth * 32) as tiles, then the factors of their chunks.
template <CodeKind kKind>
void write_chunk_tiles(const PanelMatrix& m, const std::byte* panel, std::int64_t begin,
                       std::int64_t depth, std::byte* slot) {
  using C = TileCodes<kKind>;
  constexpr std::int64_t kTileCodes = 4 * C::kBytes;  // bytes of codes that a tile has
  const C codes(m);
  alignas(64) std::byte rest[kTileCodes];
  for (std::int64_t d = 0; d < depth; ++d) {
    const std::int64_t column = begin + d * kTileColumns;
    const std::byte* at = panel + column / kTileColumns * kTileCodes;
    const std::int64_t stored = m.stored_columns - column;
    if (stored < kTileColumns) {  // x has zeros past the last column: any code will do there
      __builtin_memset(rest, 0, sizeof(rest));
      __builtin_memcpy(rest, at, static_cast<std::size_t>(stored * kTileCodes / kTileColumns));
      at = rest;
    }
    std::byte* out = slot + d * kTileBytes;
    for (int eight = 0; eight < 4; ++eight, at += C::kBytes, out += 256)
      unrolled<4>([&]<int J>() __attribute__((always_inline)) {
        _mm512_store_si512(out + J * 64, codes.template pair<J>(at));
      });
  }
  auto* factors = reinterpret_cast<float*>(slot + kBlockDepth * kTileBytes);
  const std::int64_t end = smaller(begin + depth * kTileColumns, m.columns);
  for (std::int64_t k = begin; k < end; k += m.chunk, factors += kFactorFloats) {
    store(factors, group_factor(m, panel, k / m.chunk, false));
    if (m.minimum) store(factors + kTileSide, group_factor(m, panel, k / m.chunk, true));
  }
}

/// Sums of a block's chunks on their way into the caller's.
struct ChunkFold {
  std::int64_t rows;    // 0: nothing
  std::int64_t chunks;  // 1 or 2
  const float* sums;    // [chunk][row tile][panel][16][16], kChunkSums apart
  const float* factors[2];
  const float* x_sums;  // of the first row; null: no minima
  std::int64_t x_sums_stride;
  float* out;
  std::int64_t out_stride;
  std::int64_t panels;
  bool first;
};

constexpr std::int64_t kTileFloats = kTileSide * kTileSide;
constexpr std::int64_t kChunkSums = 4 * kTileFloats;

template <int kPanels, int kChunks, bool kMinimum>
TENON_INLINE void fold_chunks_as(const ChunkFold& f, std::int64_t begin, std::int64_t end) {
  Vec scale[kChunks][kPanels];
  Vec minimum[kChunks][kPanels];
#pragma GCC unroll 2
  for (int c = 0; c < kChunks; ++c)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      scale[c][p] = load(f.factors[p] + c * kFactorFloats);
      if constexpr (kMinimum) minimum[c][p] = load(f.factors[p] + c * kFactorFloats + kTileSide);
    }
  for (std::int64_t r = begin; r < end; ++r) {
    float* out = f.out + r * f.out_stride;
    const float* x_sums = f.x_sums + r * f.x_sums_stride;
    const float* from = f.sums + r / kTileSide * kPanels * kTileFloats + r % kTileSide * kTileSide;
    Vec sum[kPanels];
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sum[p] = f.first ? zero() : load(out + p * kTileSide);
#pragma GCC unroll 2
    for (int c = 0; c < kChunks; ++c) {
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p)
        sum[p] = fma(scale[c][p], load(from + c * kChunkSums + p * kTileFloats), sum[p]);
      if constexpr (kMinimum) {
        const Vec x_sum = set1(x_sums[c]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) sum[p] = fma(minimum[c][p], x_sum, sum[p]);
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) store(out + p * kTileSide, sum[p]);
  }
}

template <int kPanels, int kChunks>
TENON_INLINE void fold_chunks_of(const ChunkFold& f, std::int64_t begin, std::int64_t end) {
  if (f.x_sums != nullptr)
    fold_chunks_as<kPanels, kChunks, true>(f, begin, end);
  else
    fold_chunks_as<kPanels, kChunks, false>(f, begin, end);
}

TENON_INLINE void fold_chunks(const ChunkFold& f, std::int64_t begin, std::int64_t end) {
  if (begin >= end) return;
  if (f.panels == 2 && f.chunks == 2) return fold_chunks_of<2, 2>(f, begin, end);
  if (f.panels == 2) return fold_chunks_of<2, 1>(f, begin, end);
  if (f.chunks == 2) return fold_chunks_of<1, 2>(f, begin, end);
  fold_chunks_of<1, 1>(f, begin, end);
}

/// kRowTiles x kPanels tiles of sums of one chunk, `depth` tiles deep, while `before` is folded.
template <int kRowTiles, int kPanels>
TENON_INLINE void chunk_products(const std::byte* x, std::int64_t x_stride,
                                 const std::byte* const (&w)[2], std::int64_t depth, float* sums,
                                 const ChunkFold& before, std::int64_t& folded, std::int64_t slice,
                                 const Upcoming& next, std::int64_t step) {
  _tile_zero(0);
  if constexpr (kPanels > 1) _tile_zero(1);
  if constexpr (kRowTiles > 1) _tile_zero(2);
  if constexpr (kRowTiles > 1 && kPanels > 1) _tile_zero(3);
  for (std::int64_t d = 0; d < depth; ++d) {
    _tile_loadd(6, w[0] + d * kTileBytes, 64);
    if constexpr (kPanels > 1) _tile_loadd(7, w[1] + d * kTileBytes, 64);
    unrolled<kMostTerms>([&]<int I>() __attribute__((always_inline)) {
      const std::byte* at = x + (d * kMostTerms + I) * kTileBytes;
      _tile_loadd(4, at, 64);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (kPanels > 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (kRowTiles > 1) {
        _tile_loadd(5, at + x_stride, 64);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (kPanels > 1) _tile_dpbf16ps(3, 5, 7);
      }
      const std::int64_t stop = smaller(folded + slice, before.rows);
      fold_chunks(before, folded, stop);
      folded = stop;
    });
    Upcoming::fetch(next, step + d);
  }
  _tile_stored(0, sums, 64);
  if constexpr (kPanels > 1) _tile_stored(1, sums + kTileFloats, 64);
  if constexpr (kRowTiles > 1) _tile_stored(2, sums + kPanels * kTileFloats, 64);
  if constexpr (kRowTiles > 1 && kPanels > 1) _tile_stored(3, sums + 3 * kTileFloats, 64);
}

struct ChunkScratch {
  std::byte* x;
  std::byte* slots;
  float* sums[2];
};

/// Tiles of one K block, of two tiles of rows, and of a pair of panels.
struct ChunkBlock {
  const std::byte* x;
  std::int64_t x_stride;
  std::int64_t row;
  std::int64_t begin;
  std::int64_t depth;
  const std::byte* slots[2];
  float* out;
};

template <int kRowTiles, int kPanels>
void multiply_chunks(const PanelCall& call, const PanelPart& part, const ChunkBlock& block,
                     const ChunkScratch& scratch, ChunkFold& pending, const Upcoming& next) {
  const PanelMatrix& m = *part.matrix;
  const std::int64_t chunk_depth = m.chunk / kTileColumns;
  const std::int64_t chunk = block.begin / m.chunk;
  float* sums = scratch.sums[pending.sums == scratch.sums[0] ? 1 : 0];
  const std::int64_t steps = block.depth * kMostTerms;
  const std::int64_t slice = (pending.rows + steps - 1) / steps;
  const std::int64_t step = block.row / (2 * kTileSide) * block.depth;
  std::int64_t folded = 0;
  std::int64_t chunks = 0;
  for (std::int64_t d = 0; d < block.depth; d += chunk_depth, ++chunks) {
    const std::byte* w[2] = {block.slots[0] + d * kTileBytes, block.slots[1] + d * kTileBytes};
    chunk_products<kRowTiles, kPanels>(block.x + d * kMostTerms * kTileBytes, block.x_stride, w,
                                       smaller(chunk_depth, block.depth - d),
                                       sums + chunks * kChunkSums, pending, folded, slice, next,
                                       step + d);
  }
  pending.rows = smaller(kRowTiles * kTileSide, call.rows - block.row);
  pending.chunks = chunks;
  pending.sums = sums;
  for (int p = 0; p < 2; ++p)
    pending.factors[p] = reinterpret_cast<const float*>(block.slots[p] + kBlockDepth * kTileBytes);
  pending.x_sums = m.minimum ? part.sums + block.row * m.chunks + chunk : nullptr;
  pending.x_sums_stride = m.chunks;
  pending.out = block.out;
  pending.out_stride = call.out_stride;
  pending.panels = kPanels;
  pending.first = block.begin == 0;
}

/// What a later pair needs of its panels, or the first pairs of the next block: its factors now,
/// its codes bit by bit.
template <CodeKind kKind>
Upcoming upcoming_codes(const PanelCall& call, const PanelPart& part, std::int64_t pair,
                        std::int64_t begin, std::int64_t depth) {
  constexpr std::int64_t kTileCodes = 4 * TileCodes<kKind>::kBytes;
  const PanelMatrix& m = *part.matrix;
  std::int64_t column = begin;
  std::int64_t panel = pair + 2 * kPairsAhead;
  while (panel >= part.count) {
    panel -= (part.count + 1) / 2 * 2;
    column += depth * kTileColumns;
  }
  Upcoming next = {nullptr, 0, 0, 0};
  if (panel < 0 || panel + 1 >= part.count || column >= m.stored_columns) return next;
  const std::byte* first = m.data + (part.panel + panel) * m.panel_bytes;
  next.panel = first + column / kTileColumns * kTileCodes;
  next.stride = m.panel_bytes;
  next.lines = smaller(depth, (m.stored_columns - column) / kTileColumns) * kTileCodes / 64;
  const std::int64_t steps = (call.rows + 2 * kTileSide - 1) / (2 * kTileSide) * depth;
  next.per_step = (next.lines + steps - 1) / steps;
  const std::byte* factors =
      first + m.factor_offset + (column / m.chunk >> m.group_shift) * m.factor_stride;
  for (int p = 0; p < 2; ++p)
    for (int line = 0; line < 2; ++line)
      _mm_prefetch(reinterpret_cast<const char*>(factors + p * m.panel_bytes + line * 64),
                   _MM_HINT_T1);
  return next;
}

/// All pairs of one part for one K block of two tiles of rows.
template <CodeKind kKind>
void multiply_chunk_part(const PanelCall& call, const PanelPart& part, ChunkBlock block,
                         std::int64_t slot, bool unpack, const ChunkScratch& scratch,
                         ChunkFold& pending) {
  const PanelMatrix& m = *part.matrix;
  for (std::int64_t p = 0; p < part.count; p += 2, slot += 2) {
    const bool pair = p + 1 < part.count;
    const std::byte* panel = m.data + (part.panel + p) * m.panel_bytes;
    std::byte* first = scratch.slots + slot % kChunkSlots * kSlotBytes;
    if (unpack) {
      write_chunk_tiles<kKind>(m, panel, block.begin, block.depth, first);
      if (pair)
        write_chunk_tiles<kKind>(m, panel + m.panel_bytes, block.begin, block.depth,
                                 first + kSlotBytes);
      asm volatile("" ::: "memory");  // tile loads do not say what they read
    }
    block.slots[0] = first;
    block.slots[1] = first + kSlotBytes;
    block.out = part.out + block.row * call.out_stride + p * kPanelRows;
    const Upcoming next = upcoming_codes<kKind>(call, part, p, block.begin, block.depth);
    const bool both = call.rows - block.row > kTileSide;
    if (both && pair)
      multiply_chunks<2, 2>(call, part, block, scratch, pending, next);
    else if (both)
      multiply_chunks<2, 1>(call, part, block, scratch, pending, next);
    else if (pair)
      multiply_chunks<1, 2>(call, part, block, scratch, pending, next);
    else
      multiply_chunks<1, 1>(call, part, block, scratch, pending, next);
  }
}

TENON_INLINE std::int64_t all_term_bytes(std::int64_t rows, std::int64_t columns) {
  return (rows + kTileSide - 1) / kTileSide * ((columns + kTileColumns - 1) / kTileColumns) *
         kMostTerms * kTileBytes;
}

/// A worker's jobs of one call share the terms of x, where they leave room in its L2.
TENON_INLINE bool kept_terms(std::int64_t rows, std::int64_t columns) {
  return all_term_bytes(rows, columns) <= kMostKept;
}

/// Never less for more rows: a step of fewer uses what was planned.
TENON_INLINE std::int64_t x_term_bytes(std::int64_t rows, std::int64_t columns) {
  const std::int64_t block = all_term_bytes(rows, kChunkBlock);
  const std::int64_t kept = smaller(all_term_bytes(rows, columns), kMostKept);
  return block > kept ? block : kept;
}

/// Parts of which has_chunk_tiles() holds.
void multiply_chunk_tiles(const PanelCall& call) {
  const std::int64_t columns = call.parts[0].matrix->columns;
  const std::int64_t tile_rows = (call.rows + kTileSide - 1) / kTileSide;
  ChunkScratch scratch;
  scratch.x = call.scratch;
  scratch.slots = scratch.x + x_term_bytes(call.rows, columns);
  scratch.sums[0] = reinterpret_cast<float*>(scratch.slots + kChunkSlots * kSlotBytes);
  scratch.sums[1] = scratch.sums[0] + 2 * kChunkSums;
  std::int64_t slots = 0;
  for (std::int64_t i = 0; i < call.part_count; ++i) slots += (call.parts[i].count + 1) / 2 * 2;
  ChunkFold pending{};
  pending.sums = scratch.sums[1];
  const std::int64_t column_bytes = tile_rows * kMostTerms * kTileBytes / kTileColumns;
  const bool keeps = kept_terms(call.rows, columns);
  const bool kept = keeps && *call.kept_row == call.first_row;
  *call.kept_row = keeps ? call.first_row : -1;
  load_tile_config();
  for (std::int64_t begin = 0; begin < columns; begin += kChunkBlock) {
    ChunkBlock block{};
    block.begin = begin;
    block.depth = (smaller(kChunkBlock, columns - begin) + kTileColumns - 1) / kTileColumns;
    std::byte* x = scratch.x + (keeps ? begin * column_bytes : 0);
    block.x = x;
    block.x_stride = block.depth * kMostTerms * kTileBytes;
    if (!kept) write_x_tiles<kMostTerms, true>(call, columns, begin, block.depth, x);
    asm volatile("" ::: "memory");
    for (; block.row < call.rows; block.row += 2 * kTileSide, block.x += 2 * block.x_stride) {
      const bool unpack = block.row == 0 || slots > kChunkSlots;
      std::int64_t slot = 0;
      for (std::int64_t i = 0; i < call.part_count; ++i) {
        const PanelPart& part = call.parts[i];
        const auto run = [&]<CodeKind kKind>() {
          multiply_chunk_part<kKind>(call, part, block, slot, unpack, scratch, pending);
        };
        if (part.matrix->codes == CodeKind::kI8)
          run.template operator()<CodeKind::kI8>();
        else
          run.template operator()<CodeKind::kI4>();  // a codebook's too: the table is in the matrix
        slot += (part.count + 1) / 2 * 2;
      }
    }
    fold_chunks(pending, 0, pending.rows);  // its factors are about to be written over
    pending.rows = 0;
  }
  _tile_release();
}

inline std::int64_t chunk_scratch_bytes(std::int64_t rows, std::int64_t columns) {
  return x_term_bytes(rows, columns) + kChunkSlots * kSlotBytes + 16 * kTileBytes;
}

}  // namespace
}  // namespace tenon::cpu
