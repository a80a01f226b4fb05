// Panels in plain C++ for any x86-64. Without FMA: its sums differ from the other sets' in
// rounding.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/vec16_portable.h"
//
#include "backends/cpu/linear/panel_epilogue.h"
#include "backends/cpu/linear/panel_multiply.h"

namespace tenon::cpu {

const PanelIsa kPanelBaseline = {multiply, scratch_bytes, chunk_sums, store_sums, gate, 64, 4};

}  // namespace tenon::cpu
