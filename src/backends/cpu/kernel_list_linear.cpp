// Ordered kernel lists of Linear, GatedLinear and Embedding.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/linear_kernels.h"
#include "backends/cpu/ref/reference.h"

namespace tenon::cpu {
namespace {

template <class OpT, Isa kNeeded>
std::string reject(const OpT&, const NodeView& node, const CpuFeatures& features) {
  if (features.isa < kNeeded) {
    constexpr const char* kNames[] = {"baseline", "avx2", "avx512", "amx"};
    return std::string("needs ") + kNames[static_cast<int>(kNeeded)];
  }
  return reject_not_float32(node);
}

template <class OpT, const PanelIsa& kIsa>
std::unique_ptr<CpuKernel> make(const OpT& op, const NodeView& node,
                                std::vector<QuantizedTensor> weights, ThreadPool& pool) {
  return make_panel_linear(op, node, std::move(weights), pool, kIsa);
}

template <class OpT, const PanelIsa& kIsa>
std::int64_t bytes(const OpT& op, const NodeView& node) {
  return panel_linear_bytes(op, node, kIsa);
}

template <class OpT, const PanelIsa& kIsa>
std::int64_t workspace(const OpT& op, const NodeView& node, const StepSizes& limits, int threads) {
  return panel_linear_workspace(op, node, limits, threads, kIsa);
}

template <class OpT, const PanelIsa& kIsa, Isa kNeeded>
constexpr KernelEntry<OpT> entry(const char* name, DataType activation, bool row_invariant) {
  return {.name = name,
          .activation = activation,
          .row_invariant = row_invariant,
          .reject = reject<OpT, kNeeded>,
          .make = make<OpT, kIsa>,
          .planned_bytes = bytes<OpT, kIsa>,
          .planned_workspace = workspace<OpT, kIsa>};
}

constexpr auto kF32 = DataType::kFloat32;
constexpr auto kBF16 = DataType::kBFloat16;

}  // namespace

std::span<const KernelEntry<Linear>> kernels(const Linear*) {
  static const KernelEntry<Linear> list[] = {
      entry<Linear, kPanelAmxBf16, Isa::kAmx>("linear_amx_bf16", kBF16, false),
      entry<Linear, kPanelAmx, Isa::kAmx>("linear_amx", kF32, false),
      entry<Linear, kPanelAvx512, Isa::kAvx512>("linear_avx512", kF32, true),
      entry<Linear, kPanelAvx2, Isa::kAvx2>("linear_avx2", kF32, true),
      entry<Linear, kPanelBaseline, Isa::kBaseline>("linear_baseline", kF32, true),
      {.name = "linear_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_workspace = reference_workspace},
  };
  return list;
}

std::span<const KernelEntry<GatedLinear>> kernels(const GatedLinear*) {
  static const KernelEntry<GatedLinear> list[] = {
      entry<GatedLinear, kPanelAmxBf16, Isa::kAmx>("gated_linear_amx_bf16", kBF16, false),
      entry<GatedLinear, kPanelAmx, Isa::kAmx>("gated_linear_amx", kF32, false),
      entry<GatedLinear, kPanelAvx512, Isa::kAvx512>("gated_linear_avx512", kF32, true),
      entry<GatedLinear, kPanelAvx2, Isa::kAvx2>("gated_linear_avx2", kF32, true),
      entry<GatedLinear, kPanelBaseline, Isa::kBaseline>("gated_linear_baseline", kF32, true),
      {.name = "gated_linear_ref",
       .reject = accept_float32,
       .make = make_reference,
       .planned_workspace = reference_workspace},
  };
  return list;
}

std::span<const KernelEntry<Embedding>> kernels(const Embedding*) {
  static const KernelEntry<Embedding> list[] = {
      {.name = "embedding_ref", .reject = accept_float32, .make = make_reference},
  };
  return list;
}

}  // namespace tenon::cpu
