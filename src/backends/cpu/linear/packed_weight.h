// Packing: a canonical weight into panels (panel_isa.h), once, while loading.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/linear/panel_isa.h"
#include "core/thread_pool.h"
#include "quant/quantized_tensor.h"

namespace tenon::cpu {

struct PackedWeight {
  PanelMatrix matrix;
  std::shared_ptr<std::byte> data;
  std::vector<float> row_scales;  ///< whole panels of them where matrix.row_scaled
};

/// The layout that a weight of this form gets; `data` is null. Any form has one: what fits no kind
/// of codes (a codebook of more than four bits, odd groups) becomes fp32.
PanelMatrix plan_panels(const QuantSpec& spec, std::int64_t rows, std::int64_t columns);

/// Bytes of a matrix in that layout, with its row scales.
std::int64_t panel_matrix_bytes(const PanelMatrix& matrix);

PackedWeight pack_weight(const QuantizedTensor& weight, ThreadPool& pool);

}  // namespace tenon::cpu
