// Panels with AMX tiles for many rows; AVX-512's own functions on the same panels for few, since
// tiles gain nothing while memory is the limit. Internal linkage and raw pointers only, as in its
// siblings.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/vec16_avx512.h"
//
#include "backends/cpu/linear/panel_chunk_tiles.h"

namespace tenon::cpu {
namespace {

/// Rows up to which decoding in registers beats making tiles, by measurement: making the terms of
/// fewer than 16 rows' weights costs more than the products, where codes are no tiles by
/// themselves.
template <int kXTerms>
bool few_rows(const PanelCall& call) {
  if (kXTerms == 1) return call.rows <= 8;
  for (std::int64_t i = 0; i < call.part_count; ++i) {
    const PanelMatrix& m = *call.parts[i].matrix;
    if (m.codes != CodeKind::kBF16 && !has_chunk_tiles(m)) return call.rows <= kSweepRows;
  }
  return call.rows <= 8;
}

/// Each part as its form allows.
void multiply_exact(const PanelCall& call) {
  for (std::int64_t i = 0; i < call.part_count;) {
    const bool chunks = has_chunk_tiles(*call.parts[i].matrix);
    PanelCall run = call;
    run.parts = call.parts + i;
    run.part_count = 0;
    for (; i < call.part_count && has_chunk_tiles(*call.parts[i].matrix) == chunks; ++i)
      ++run.part_count;
    if (chunks) {
      multiply_chunk_tiles(run);
    } else {
      *call.kept_row = -1;  // its terms are about to be written over
      multiply_tiles<kMostTerms>(run);
    }
  }
}

template <int kXTerms>
void multiply_amx(const PanelCall& call) {
  if (few_rows<kXTerms>(call))
    kPanelAvx512.multiply(call);
  else if (kXTerms == kMostTerms)
    multiply_exact(call);
  else
    multiply_tiles<kXTerms>(call);
}

template <int kXTerms>
std::int64_t scratch_bytes(std::int64_t rows, std::int64_t columns) {
  const std::int64_t bytes = tile_scratch_bytes<kXTerms>(rows);
  if (kXTerms != kMostTerms) return bytes;
  const std::int64_t chunks = chunk_scratch_bytes(rows, columns);
  return bytes > chunks ? bytes : chunks;
}

void chunk_sums(const float* x, std::int64_t columns, std::int64_t chunk, float* sums) {
  kPanelAvx512.chunk_sums(x, columns, chunk, sums);
}

void store_sums(const float* sums, const float* bias, float* out, std::int64_t count) {
  kPanelAvx512.store(sums, bias, out, count);
}

void gate(const GateCall& call) { kPanelAvx512.gate(call); }

}  // namespace

const PanelIsa kPanelAmx = {
    multiply_amx<3>, scratch_bytes<3>, chunk_sums, store_sums, gate, 256, 16};
const PanelIsa kPanelAmxBf16 = {
    multiply_amx<1>, scratch_bytes<1>, chunk_sums, store_sums, gate, 256, 32};

}  // namespace tenon::cpu
