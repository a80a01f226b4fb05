// Panels with AVX2: compiled for it alone, so nothing here may be picked for another processor:
// raw pointers and internal linkage only, no library templates.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/vec16_avx2.h"
//
#include "backends/cpu/linear/panel_epilogue.h"
#include "backends/cpu/linear/panel_multiply.h"

namespace tenon::cpu {

const PanelIsa kPanelAvx2 = {multiply, scratch_bytes, chunk_sums, store_sums, gate, 64, 4};

}  // namespace tenon::cpu
