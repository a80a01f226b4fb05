// Makers of the kernels of Linear, GatedLinear and Embedding.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/cpu_kernel.h"
#include "backends/cpu/linear/panel_isa.h"

namespace tenon::cpu {

/// `float8_x`: rows of x are rounded to float8_e4m3, under a scale each, before the product.
std::unique_ptr<CpuKernel> make_panel_linear(const Linear& op, const NodeView& node,
                                             std::vector<QuantizedTensor> weights, ThreadPool& pool,
                                             const PanelIsa& isa, bool float8_x);
std::unique_ptr<CpuKernel> make_panel_linear(const GatedLinear& op, const NodeView& node,
                                             std::vector<QuantizedTensor> weights, ThreadPool& pool,
                                             const PanelIsa& isa, bool float8_x);
std::int64_t panel_linear_bytes(const Linear& op, const NodeView& node, const PanelIsa& isa,
                                bool float8_x);
std::int64_t panel_linear_bytes(const GatedLinear& op, const NodeView& node, const PanelIsa& isa,
                                bool float8_x);
std::int64_t panel_linear_workspace(const Linear& op, const NodeView& node, const StepSizes& limits,
                                    int threads, const PanelIsa& isa, bool float8_x);
std::int64_t panel_linear_workspace(const GatedLinear& op, const NodeView& node,
                                    const StepSizes& limits, int threads, const PanelIsa& isa,
                                    bool float8_x);

std::unique_ptr<CpuKernel> make_reference(const Linear& op, const NodeView& node,
                                          std::vector<QuantizedTensor> weights, ThreadPool& pool);
std::unique_ptr<CpuKernel> make_reference(const GatedLinear& op, const NodeView& node,
                                          std::vector<QuantizedTensor> weights, ThreadPool& pool);
std::int64_t reference_workspace(const Linear& op, const NodeView& node, const StepSizes& limits,
                                 int threads);
std::int64_t reference_workspace(const GatedLinear& op, const NodeView& node,
                                 const StepSizes& limits, int threads);

/// The specification of linears whose x is rounded to float8_e4m3: the references above on the
/// rounded rows.
std::unique_ptr<CpuKernel> make_float8_reference(const Linear& op, const NodeView& node,
                                                 std::vector<QuantizedTensor> weights,
                                                 ThreadPool& pool);
std::unique_ptr<CpuKernel> make_float8_reference(const GatedLinear& op, const NodeView& node,
                                                 std::vector<QuantizedTensor> weights,
                                                 ThreadPool& pool);
std::int64_t float8_reference_workspace(const Linear& op, const NodeView& node,
                                        const StepSizes& limits, int threads);
std::int64_t float8_reference_workspace(const GatedLinear& op, const NodeView& node,
                                        const StepSizes& limits, int threads);

/// Gathers and dequantizes rows of the canonical weight: the specification, and as fast as needed.
std::unique_ptr<CpuKernel> make_reference(const Embedding& op, const NodeView& node,
                                          std::vector<QuantizedTensor> weights, ThreadPool& pool);

}  // namespace tenon::cpu
