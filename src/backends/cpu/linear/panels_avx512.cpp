// Panels with AVX-512: compiled for it alone, so nothing here may be picked for another processor:
// raw pointers and internal linkage only, no library templates.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/vec16_avx512.h"
//
#include "backends/cpu/linear/panel_epilogue.h"
#include "backends/cpu/linear/panel_multiply.h"

namespace tenon::cpu {

const PanelIsa kPanelAvx512 = {multiply, scratch_bytes, chunk_sums, store_sums, gate, 128, 16};

}  // namespace tenon::cpu
