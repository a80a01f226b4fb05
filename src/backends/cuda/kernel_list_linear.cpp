// Ordered kernel lists of Linear, GatedLinear and Embedding.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device_weight.h"
#include "backends/cuda/linear_cublaslt.h"
#include "backends/cuda/linear_float8.h"
#include "backends/cuda/linear_stream.h"
#include "backends/cuda/plain/plain_kernels.h"

namespace tenon::cuda {
namespace {

template <class OpT, DataType kType>
std::string reject(const OpT& op, const NodeView& node, const DeviceFeatures& features) {
  return reject_cublaslt(op, node, features, kType);
}

// Matrices as the reader gives them, biases as fp32.
std::vector<PackedNeed> plain_needs(std::size_t matrices, const NodeView& node) {
  std::vector<PackedNeed> needs;
  for (std::size_t i = 0; i < node.weights.size(); ++i)
    needs.push_back(i < matrices ? canonical_need(node.weights[i]) : float_need(node.weights[i]));
  return needs;
}

std::vector<PackedNeed> needs(const Linear& op, const NodeView& node) {
  return plain_needs(static_cast<std::size_t>(op.segments), node);
}
std::vector<PackedNeed> needs(const GatedLinear&, const NodeView& node) {
  return plain_needs(2, node);
}
std::vector<PackedNeed> needs(const Embedding&, const NodeView& node) {
  return plain_needs(1, node);
}

template <class OpT>
std::unique_ptr<CudaKernel> make_products(const OpT& op, const NodeView& node, Weights weights,
                                          LoadContext& load) {
  return make_cublaslt(op, node, std::move(weights), load);
}

template <DataType kType>
constexpr KernelEntry<Linear> linear_entry(const char* name) {
  return {.name = name,
          .activation = kType,
          .row_invariant = false,
          .reject = reject<Linear, kType>,
          .make = make_products<Linear>,
          .needs = cublaslt_needs<Linear>,
          .planned_workspace = cublaslt_workspace};
}

template <DataType kType>
constexpr KernelEntry<GatedLinear> gated_entry(const char* name) {
  return {.name = name,
          .activation = kType,
          .row_invariant = false,
          .reject = reject<GatedLinear, kType>,
          .make = make_products<GatedLinear>,
          .needs = cublaslt_needs<GatedLinear>,
          .planned_workspace = cublaslt_workspace};
}

template <class OpT, DataType kType, bool kRowsApart>
constexpr KernelEntry<OpT> stream_entry(const char* name) {
  KernelEntry<OpT> entry{
      .name = name,
      .activation = kType,
      .row_invariant = kRowsApart,
      .reject =
          [](const OpT& op, const NodeView& node, const DeviceFeatures& features) {
            return reject_stream(op, node, features, kType);
          },
      .make =
          [](const OpT& op, const NodeView& node, Weights weights, LoadContext& load) {
            return make_stream(op, node, std::move(weights), load, kRowsApart);
          },
      .needs = [](const OpT& op,
                  const NodeView& node) { return stream_needs(op, node, kRowsApart); }};
  if (!kRowsApart) entry.planned_workspace = stream_workspace<OpT>;
  return entry;
}

template <class OpT, Float8Products kProducts>
constexpr KernelEntry<OpT> float8_entry(const char* name) {
  return {.name = name,
          .activation = DataType::kFloat8E4M3,
          .row_invariant = false,
          .reject =
              [](const OpT& op, const NodeView& node, const DeviceFeatures& features) {
                return reject_float8(op, node, features, kProducts);
              },
          .make =
              [](const OpT& op, const NodeView& node, Weights weights, LoadContext& load) {
                return make_float8(op, node, std::move(weights), load, kProducts);
              },
          .needs = [](const OpT& op,
                      const NodeView& node) { return float8_needs(op, node, kProducts); },
          .planned_workspace = float8_workspace<OpT>};
}

}  // namespace

std::span<const KernelEntry<Linear>> kernels(const Linear*) {
  static const KernelEntry<Linear> list[] = {
      float8_entry<Linear, Float8Products::kScaled>("linear_fp8"),
      float8_entry<Linear, Float8Products::kSums>("linear_fp8_sums"),
      stream_entry<Linear, DataType::kBFloat16, false>("linear_stream_bf16"),
      stream_entry<Linear, DataType::kFloat16, false>("linear_stream_fp16"),
      stream_entry<Linear, DataType::kBFloat16, true>("linear_stream_rows_bf16"),
      stream_entry<Linear, DataType::kFloat16, true>("linear_stream_rows_fp16"),
      linear_entry<DataType::kBFloat16>("linear_cublaslt_bf16"),
      linear_entry<DataType::kFloat16>("linear_cublaslt_fp16"),
      linear_entry<DataType::kFloat32>("linear_cublaslt_fp32"),
      {.name = "linear_plain", .reject = accept_all, .make = make_plain, .needs = needs},
  };
  return list;
}

std::span<const KernelEntry<GatedLinear>> kernels(const GatedLinear*) {
  static const KernelEntry<GatedLinear> list[] = {
      float8_entry<GatedLinear, Float8Products::kScaled>("gated_linear_fp8"),
      float8_entry<GatedLinear, Float8Products::kSums>("gated_linear_fp8_sums"),
      stream_entry<GatedLinear, DataType::kBFloat16, false>("gated_linear_stream_bf16"),
      stream_entry<GatedLinear, DataType::kFloat16, false>("gated_linear_stream_fp16"),
      stream_entry<GatedLinear, DataType::kBFloat16, true>("gated_linear_stream_rows_bf16"),
      stream_entry<GatedLinear, DataType::kFloat16, true>("gated_linear_stream_rows_fp16"),
      gated_entry<DataType::kBFloat16>("gated_linear_cublaslt_bf16"),
      gated_entry<DataType::kFloat16>("gated_linear_cublaslt_fp16"),
      gated_entry<DataType::kFloat32>("gated_linear_cublaslt_fp32"),
      {.name = "gated_linear_plain", .reject = accept_all, .make = make_plain, .needs = needs},
  };
  return list;
}

std::span<const KernelEntry<Embedding>> kernels(const Embedding*) {
  static const KernelEntry<Embedding> list[] = {
      {.name = "embedding_plain", .reject = accept_all, .make = make_plain, .needs = needs},
  };
  return list;
}

}  // namespace tenon::cuda
