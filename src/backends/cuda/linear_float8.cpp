// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_float8.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/linear_cublaslt.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kStreamRows = 16;    // more go to cuBLASLt
constexpr std::int64_t kBlasMultiple = 16;  // of extents, that its fp8 products want

std::size_t matrices(const Linear& op) { return static_cast<std::size_t>(op.segments); }
std::size_t matrices(const GatedLinear&) { return 2; }

void describe_op(const Linear&, Float8Epilogue&) {}
void describe_op(const GatedLinear& op, Float8Epilogue& epilogue) {
  epilogue.gated = true;
  epilogue.kind = op.kind;
}

/// Workspace for so many rows: sums, codes, scales of rows.
struct Places {
  std::int64_t codes = 0;
  std::int64_t scales = 0;
  std::int64_t total = 0;
};

Places places_of(const PackedMatrix& m, std::int64_t rows) {
  constexpr auto kFloat = static_cast<std::int64_t>(sizeof(float));
  Places out;
  out.codes = aligned(rows * m.rows * kFloat);
  const std::int64_t streamed = std::min(rows, kStreamRows) * m.columns * 2;
  out.scales = out.codes + aligned(std::max(streamed, rows * m.row_bytes));
  out.total = out.scales + aligned(rows * kFloat);
  return out;
}

class LinearFloat8 final : public CudaKernel, public TunableKernel {
 public:
  LinearFloat8(PackedMatrix matrix, const float* bias, Float8Epilogue epilogue)
      : matrix_(matrix), epilogue_(epilogue) {
    epilogue_.w_scales = static_cast<const float*>(matrix.scale);
    epilogue_.bias = bias;
    epilogue_.width = matrix.rows;
  }

  void launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
              const StepContext& step) const override {
    const TensorRef& x = inputs[0];
    if (x.rows == 0) return;
    const LinearTactic tactic = tactic_of(x.rows);
    const bool streams = tactic.route == LinearTactic::Route::kStream;
    const Places places = places_of(matrix_, x.rows);
    auto* const sums = reinterpret_cast<float*>(step.workspace);
    auto* const scales = reinterpret_cast<float*>(step.workspace + places.scales);
    std::byte* const codes = step.workspace + places.codes;
    launch_round_rows({.x = x.data,
                       .rows = x.rows,
                       .columns = matrix_.columns,
                       .row_bytes = streams ? 0 : matrix_.row_bytes,
                       .codes = codes,
                       .scales = scales},
                      step.stream);
    if (streams) {
      stream(codes, sums, x.rows, step);
    } else {
      step.cublaslt->matmul(shape_of(x.rows), codes, matrix_.codes, sums, step.stream,
                            tactic.algorithm);
    }
    Float8Epilogue epilogue = epilogue_;
    epilogue.sums = sums;
    epilogue.x_scales = scales;
    epilogue.rows = x.rows;
    epilogue.segments = static_cast<std::int32_t>(outputs.size());
    std::int32_t begin = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      epilogue.out[i] = {outputs[i].data, outputs[i].width, begin, outputs[i].dtype};
      begin += static_cast<std::int32_t>(outputs[i].width);
    }
    launch_float8_epilogue(epilogue, step.stream);
  }

  std::int64_t workspace_bytes(const StepSizes& limits) const override {
    return places_of(matrix_, limits.tokens).total;
  }

  // Segments are one product here, whatever the way.
  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const override {
    if (blas == nullptr) return {};
    std::vector<LinearTactic> out = cublaslt_tactics(shape_of(rows), true, false, *blas);
    if (rows <= kStreamRows) out.insert(out.begin(), LinearTactic{});
    return out;
  }
  void set_tactic(std::int64_t rows, const LinearTactic& tactic) override {
    tactics_.set(rows, tactic);
  }

 private:
  LinearTactic tactic_of(std::int64_t rows) const {
    const LinearTactic* const set = tactics_.find(rows);
    if (set != nullptr) return *set;
    return {rows <= kStreamRows ? LinearTactic::Route::kStream : LinearTactic::Route::kProducts};
  }

  MatmulShape shape_of(std::int64_t rows) const {
    return {DataType::kFloat8E4M3, DataType::kFloat32, rows,
            matrix_.rows,          matrix_.row_bytes,  matrix_.rows};
  }

  // Sums of codes alone: scales and biases come after.
  void stream(const std::byte* codes, float* sums, std::int64_t rows,
              const StepContext& step) const {
    GemvArguments a;
    a.matrix = matrix_;
    a.x = reinterpret_cast<const std::uint8_t*>(codes);
    a.x_rows = rows;
    a.rows = static_cast<std::int32_t>(matrix_.rows);
    a.columns = static_cast<std::int32_t>(matrix_.columns);
    a.segments = 1;
    a.out[0] = {sums, matrix_.rows, 0, DataType::kFloat32};
    const GemvLaunch launch = plan_gemv(a, *step.features);
    launch_gemv(a, launch, step.stream);
  }

  PackedMatrix matrix_;
  Float8Epilogue epilogue_;  // without sums, rows and outputs
  TacticsByRows tactics_;
};

}  // namespace

template <class OpT>
std::string reject_float8(const OpT& op, const NodeView& node, const DeviceFeatures& features) {
  if (!features.cublaslt) return "cuBLASLt: " + features.cublaslt_missing;
  if (features.capability < 89) return "fp8 products need compute capability 8.9 or more";
  const std::size_t count = matrices(op);
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const WeightUse& use = node.weights[i];
    if (!use.spec.suits_float8_inputs(use.shape[1]))
      return fmt::format("inputs of float8_e4m3 go with weights of float8_e4m3 alone, {} is {}",
                         use.name, to_string(use.spec));
    rows += use.shape[0];
  }
  if (rows % kBlasMultiple != 0)
    return fmt::format("{} outputs are no multiple of {}", rows, kBlasMultiple);
  return reject_stream(op, node, features, DataType::kBFloat16);
}

template <class OpT>
std::vector<PackedNeed> float8_needs(const OpT& op, const NodeView& node) {
  const std::size_t count = matrices(op);
  const PackedMatrix form = packed_form(node, count, DataType::kBFloat16).matrix;
  std::vector<PackedNeed> needs = packed_needs(node, count, form);
  if (op.has_bias) needs.push_back(joined_bias_need(node, count, form));
  return needs;
}

template <class OpT>
std::unique_ptr<CudaKernel> make_float8(const OpT& op, const NodeView& node, Weights weights,
                                        LoadContext& load) {
  const std::size_t count = matrices(op);
  const PackedMatrix form = packed_form(node, count, DataType::kBFloat16).matrix;
  const PackedMatrix matrix = load_packed(node, weights, count, form, load);
  const float* const bias =
      op.has_bias ? load_joined_bias(node, weights, count, form, load) : nullptr;
  Float8Epilogue epilogue;
  describe_op(op, epilogue);
  return std::make_unique<LinearFloat8>(matrix, bias, epilogue);
}

template <class OpT>
std::int64_t float8_workspace(const OpT& op, const NodeView& node, const StepSizes& limits) {
  return places_of(packed_form(node, matrices(op), DataType::kBFloat16).matrix, limits.tokens)
      .total;
}

template std::string reject_float8(const Linear&, const NodeView&, const DeviceFeatures&);
template std::string reject_float8(const GatedLinear&, const NodeView&, const DeviceFeatures&);
template std::vector<PackedNeed> float8_needs(const Linear&, const NodeView&);
template std::vector<PackedNeed> float8_needs(const GatedLinear&, const NodeView&);
template std::unique_ptr<CudaKernel> make_float8(const Linear&, const NodeView&, Weights,
                                                 LoadContext&);
template std::unique_ptr<CudaKernel> make_float8(const GatedLinear&, const NodeView&, Weights,
                                                 LoadContext&);
template std::int64_t float8_workspace(const Linear&, const NodeView&, const StepSizes&);
template std::int64_t float8_workspace(const GatedLinear&, const NodeView&, const StepSizes&);

}  // namespace tenon::cuda
