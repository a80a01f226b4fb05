// Kernels over the inner loops of isa/: the same classes for AVX2 and AVX-512, with another table.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/isa/isa_kernels.h"
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {

std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const Norm&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const AddNorm&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const Activation&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const GatedActivation&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const Softcap&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const Rope&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const CacheWrite&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const RopeCacheWrite&, Weights);
std::unique_ptr<CpuKernel> make_simd(const IsaKernels&, const Attention&, Weights);

/// The form that kernel lists hold.
template <const IsaKernels& (*kTable)(), class OpT>
std::unique_ptr<CpuKernel> make_for(const OpT& op, const NodeView&, Weights weights, ThreadPool&) {
  return make_simd(kTable(), op, std::move(weights));
}

/// Rejects values that are not float32, and processors (or policies) below the instruction set.
std::string reject_below(Isa isa, const NodeView& node, const CpuFeatures& features);
template <Isa kIsa, class OpT>
std::string needs(const OpT&, const NodeView& node, const CpuFeatures& features) {
  return reject_below(kIsa, node, features);
}

/// Workspace of the attention and cache-write kernels, for the plan.
std::int64_t attention_workspace(const Attention& op, const NodeView& node, const StepSizes& limits,
                                 int threads);
std::int64_t cache_write_workspace(const CacheWrite& op, const NodeView& node,
                                   const StepSizes& limits, int threads);
std::int64_t rope_cache_write_workspace(const RopeCacheWrite& op, const NodeView& node,
                                        const StepSizes& limits, int threads);

}  // namespace tenon::cpu
