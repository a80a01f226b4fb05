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

std::size_t matrices(const Linear& op) { return static_cast<std::size_t>(op.segments); }
std::size_t matrices(const GatedLinear&) { return 2; }

/// fp8 inputs go with fp8 matrices, whose scales can wait for the sums.
template <class OpT, Isa kNeeded>
std::string reject_float8(const OpT& op, const NodeView& node, const CpuFeatures& features) {
  for (std::size_t i = 0; i < matrices(op); ++i)
    if (!node.weights[i].spec.suits_float8_inputs(node.weights[i].shape.back()))
      return "inputs of float8_e4m3 go with weights of float8_e4m3 alone, " + node.weights[i].name +
             " is " + to_string(node.weights[i].spec);
  return reject<OpT, kNeeded>(op, node, features);
}

template <class OpT, const PanelIsa& kIsa, bool kFloat8>
std::unique_ptr<CpuKernel> make(const OpT& op, const NodeView& node,
                                std::vector<QuantizedTensor> weights, ThreadPool& pool) {
  return make_panel_linear(op, node, std::move(weights), pool, kIsa, kFloat8);
}

template <class OpT, const PanelIsa& kIsa, bool kFloat8>
std::int64_t bytes(const OpT& op, const NodeView& node) {
  return panel_linear_bytes(op, node, kIsa, kFloat8);
}

template <class OpT, const PanelIsa& kIsa, bool kFloat8>
std::int64_t workspace(const OpT& op, const NodeView& node, const StepSizes& limits, int threads) {
  return panel_linear_workspace(op, node, limits, threads, kIsa, kFloat8);
}

template <class OpT, const PanelIsa& kIsa, Isa kNeeded>
constexpr KernelEntry<OpT> entry(const char* name, DataType activation, bool row_invariant) {
  return {.name = name,
          .activation = activation,
          .row_invariant = row_invariant,
          .reject = reject<OpT, kNeeded>,
          .make = make<OpT, kIsa, false>,
          .planned_bytes = bytes<OpT, kIsa, false>,
          .planned_workspace = workspace<OpT, kIsa, false>};
}

constexpr auto kF32 = DataType::kFloat32;
constexpr auto kBF16 = DataType::kBFloat16;
constexpr auto kF8 = DataType::kFloat8E4M3;

template <class OpT, const PanelIsa& kIsa, Isa kNeeded>
constexpr KernelEntry<OpT> float8_entry(const char* name, bool row_invariant) {
  return {.name = name,
          .activation = kF8,
          .row_invariant = row_invariant,
          .reject = reject_float8<OpT, kNeeded>,
          .make = make<OpT, kIsa, true>,
          .planned_bytes = bytes<OpT, kIsa, true>,
          .planned_workspace = workspace<OpT, kIsa, true>};
}

template <class OpT>
constexpr KernelEntry<OpT> float8_reference(const char* name) {
  return {.name = name,
          .activation = kF8,
          .reject = reject_float8<OpT, Isa::kBaseline>,
          .make = make_float8_reference,
          .planned_workspace = float8_reference_workspace};
}

}  // namespace

std::span<const KernelEntry<Linear>> kernels(const Linear*) {
  static const KernelEntry<Linear> list[] = {
      // fp8 numbers are bfloat16 numbers: rounding to bfloat16 loses nothing here.
      float8_entry<Linear, kPanelAmxBf16, Isa::kAmx>("linear_amx_fp8", false),
      float8_entry<Linear, kPanelAvx512, Isa::kAvx512>("linear_avx512_fp8", true),
      float8_entry<Linear, kPanelAvx2, Isa::kAvx2>("linear_avx2_fp8", true),
      float8_entry<Linear, kPanelBaseline, Isa::kBaseline>("linear_baseline_fp8", true),
      float8_reference<Linear>("linear_ref_fp8"),
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
      float8_entry<GatedLinear, kPanelAmxBf16, Isa::kAmx>("gated_linear_amx_fp8", false),
      float8_entry<GatedLinear, kPanelAvx512, Isa::kAvx512>("gated_linear_avx512_fp8", true),
      float8_entry<GatedLinear, kPanelAvx2, Isa::kAvx2>("gated_linear_avx2_fp8", true),
      float8_entry<GatedLinear, kPanelBaseline, Isa::kBaseline>("gated_linear_baseline_fp8", true),
      float8_reference<GatedLinear>("gated_linear_ref_fp8"),
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
