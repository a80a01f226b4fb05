// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_cublaslt.h"

#include <fmt/core.h>

#include <algorithm>

#include "backends/cuda/cublaslt.h"
#include "backends/cuda/device/epilogue.h"
#include "backends/cuda/device_weight.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

// Gate and up of GatedLinear lie in workspace as float32: what they are rounded to is the product.
constexpr DataType kGateType = DataType::kFloat32;

std::size_t matrices(const Linear& op) { return static_cast<std::size_t>(op.segments); }
std::size_t matrices(const GatedLinear&) { return 2; }

std::int64_t out_of(const WeightUse& use) { return use.shape[0]; }
std::int64_t in_of(const WeightUse& use) { return use.shape[1]; }

struct Matrices {
  DataType type = DataType::kBFloat16;
  std::int64_t in = 0;
  std::vector<std::int64_t> out;
  const std::byte* data = nullptr;
  std::vector<const float*> biases;  // empty: none
  DataType output = DataType::kFloat32;
  std::int64_t joined_row_bytes = 0;  // 0: segments are not joined
};

template <class OpT>
Matrices load_matrices(const OpT& op, const NodeView& node, const Weights& weights,
                       LoadContext& load) {
  Matrices m;
  const std::size_t count = matrices(op);
  m.type = node.weights[0].spec.float_type;
  m.in = in_of(node.weights[0]);
  for (std::size_t i = 0; i < count; ++i) m.out.push_back(out_of(node.weights[i]));
  m.data = load_joined(node, weights, count, load);
  for (std::size_t i = 0; op.has_bias && i < count; ++i)
    m.biases.push_back(upload_floats(node.weights[count + i], weights[count + i], load));
  m.output = node.outputs[0].dtype;
  m.joined_row_bytes = joined_row_bytes(node);
  return m;
}

class LinearCublasLt final : public CublasLtLinear {
 public:
  explicit LinearCublasLt(Matrices m) : m_(std::move(m)) {
    for (const std::int64_t width : m_.out) width_ += width;
  }

  void launch_as(const LinearTactic& tactic, std::span<const TensorRef> inputs,
                 std::span<const TensorRef> outputs, const StepContext& step) const override {
    if (tactic.route == LinearTactic::Route::kJoined)
      join(tactic.algorithm, inputs[0], outputs, step);
    else
      multiply(tactic.algorithm, inputs[0], outputs, step);
  }

  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const override {
    if (blas == nullptr) return {};
    return cublaslt_tactics(joined_shape(rows), m_.out.size() == 1,
                            m_.joined_row_bytes > 0 && rows <= kMostJoinedRows, *blas);
  }

  std::int64_t workspace_bytes(const StepSizes& limits) const override {
    return std::min(limits.tokens, kMostJoinedRows) * m_.joined_row_bytes;
  }

 private:
  MatmulShape joined_shape(std::int64_t rows) const {
    return {m_.type, m_.output, rows, width_, m_.in, width_};
  }

  void multiply(std::uint64_t algorithm, const TensorRef& x, std::span<const TensorRef> outputs,
                const StepContext& step) const {
    const std::byte* w = m_.data;
    for (std::size_t i = 0; i < m_.out.size(); ++i) {
      const TensorRef& y = outputs[i];
      const MatmulShape shape{m_.type, y.dtype, x.rows, m_.out[i], m_.in, m_.out[i]};
      step.cublaslt->matmul(shape, x.data, w, y.data, step.stream, algorithm);
      if (!m_.biases.empty())
        launch_add_bias(y.data, y.dtype, m_.biases[i], y.rows, y.width, step.stream);
      w += m_.out[i] * m_.in * static_cast<std::int64_t>(size_of(m_.type));
    }
  }

  void join(std::uint64_t algorithm, const TensorRef& x, std::span<const TensorRef> outputs,
            const StepContext& step) const {
    TENON_ASSERT(x.rows * m_.joined_row_bytes <= step.workspace_bytes);
    step.cublaslt->matmul(joined_shape(x.rows), x.data, m_.data, step.workspace, step.stream,
                          algorithm);
    RowSplit split = split_of(step.workspace, outputs);
    for (std::size_t i = 0; i < m_.biases.size(); ++i) split.out[i].bias = m_.biases[i];
    launch_split(split, step.stream);
  }

  Matrices m_;
  std::int64_t width_ = 0;
};

class GatedLinearCublasLt final : public CublasLtLinear {
 public:
  GatedLinearCublasLt(ActivationKind kind, Matrices m) : kind_(kind), m_(std::move(m)) {}

  void launch_as(const LinearTactic& tactic, std::span<const TensorRef> inputs,
                 std::span<const TensorRef> outputs, const StepContext& step) const override {
    const std::int64_t width = m_.out[0];
    const TensorRef& y = outputs[0];
    step.cublaslt->matmul(shape_of(inputs[0].rows), inputs[0].data, m_.data, step.workspace,
                          step.stream, tactic.algorithm);
    const float* gate_bias = m_.biases.empty() ? nullptr : m_.biases[0];
    const float* up_bias = m_.biases.empty() ? nullptr : m_.biases[1];
    launch_gate(kind_, step.workspace, kGateType, gate_bias, up_bias, y.data, y.dtype, y.rows,
                width, step.stream);
  }

  std::vector<LinearTactic> tactics(std::int64_t rows, CublasLt* blas) const override {
    if (blas == nullptr) return {};
    return cublaslt_tactics(shape_of(rows), true, false, *blas);
  }

  std::int64_t workspace_bytes(const StepSizes& limits) const override {
    return limits.tokens * 2 * m_.out[0] * static_cast<std::int64_t>(size_of(kGateType));
  }

 private:
  MatmulShape shape_of(std::int64_t rows) const {
    return {m_.type, kGateType, rows, 2 * m_.out[0], m_.in, 2 * m_.out[0]};
  }

  ActivationKind kind_;
  Matrices m_;
};

std::unique_ptr<CublasLtLinear> make(const Linear&, Matrices m) {
  return std::make_unique<LinearCublasLt>(std::move(m));
}
std::unique_ptr<CublasLtLinear> make(const GatedLinear& op, Matrices m) {
  return std::make_unique<GatedLinearCublasLt>(op.kind, std::move(m));
}

}  // namespace

void CublasLtLinear::launch(std::span<const TensorRef> inputs, std::span<const TensorRef> outputs,
                            const StepContext& step) const {
  const LinearTactic* const set = tactics_.find(inputs[0].rows);
  launch_as(set != nullptr ? *set : LinearTactic{LinearTactic::Route::kProducts}, inputs, outputs,
            step);
}

void CublasLtLinear::set_tactic(std::int64_t rows, const LinearTactic& tactic) {
  tactics_.set(rows, tactic);
}

bool can_join(const NodeView& node) {
  const std::size_t count = node.outputs.size();
  if (count < 2 || count > kMaxSplitSegments) return false;
  for (const ValueType& output : node.outputs)
    if (output.dtype != node.outputs[0].dtype) return false;
  return true;
}

std::int64_t joined_row_bytes(const NodeView& node) {
  if (!can_join(node)) return 0;
  std::int64_t width = 0;
  for (std::size_t i = 0; i < node.outputs.size(); ++i) width += out_of(node.weights[i]);
  return width * static_cast<std::int64_t>(size_of(node.outputs[0].dtype));
}

RowSplit split_of(const std::byte* joined, std::span<const TensorRef> outputs) {
  RowSplit split;
  split.joined = joined;
  split.type = outputs[0].dtype;
  split.rows = outputs[0].rows;
  split.segments = static_cast<int>(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    split.out[i] = {outputs[i].data, nullptr, outputs[i].width, split.width};
    split.width += outputs[i].width;
  }
  return split;
}

std::vector<LinearTactic> cublaslt_tactics(const MatmulShape& product, bool one_segment, bool joins,
                                           CublasLt& blas) {
  using Route = LinearTactic::Route;
  std::vector<LinearTactic> out = {{Route::kProducts}};
  if (!one_segment && !joins) return out;
  const Route route = one_segment ? Route::kProducts : Route::kJoined;
  if (joins) out.push_back({Route::kJoined});
  const std::vector<std::uint64_t> algorithms = blas.algorithms(product, CublasLt::kProposals);
  for (std::size_t i = 1; i < algorithms.size(); ++i) out.push_back({route, algorithms[i]});
  return out;
}

// One weight alone has the canonical layout, so that a tied embedding shares it.
PackedNeed joined_need(const NodeView& node, std::size_t count) {
  if (count == 1) return canonical_need(node.weights[0]);
  PackedNeed out;
  for (std::size_t i = 0; i < count; ++i) {
    out.key += node.weights[i].name + " ";
    out.bytes += byte_count(node.weights[i].spec.float_type, node.weights[i].shape);
  }
  out.key += "rows joined";
  return out;
}

const std::byte* load_joined(const NodeView& node, const Weights& weights, std::size_t count,
                             LoadContext& load) {
  if (count == 1)
    return reinterpret_cast<const std::byte*>(
        upload_canonical(node.weights[0], weights[0], load).codes);
  const PackedNeed need = joined_need(node, count);
  return load.get(need.key, need.bytes, [&](std::int64_t begin, std::span<std::byte> out) {
    std::int64_t at = 0;  // of each weight in the whole
    const std::int64_t end = begin + static_cast<std::int64_t>(out.size());
    for (std::size_t i = 0; i < count; ++i) {
      const auto bytes = static_cast<std::int64_t>(weights[i].codes.bytes());
      const std::int64_t first = std::max(begin, at);
      const std::int64_t last = std::min(end, at + bytes);
      if (first < last)
        std::copy_n(weights[i].codes.data() + (first - at), last - first,
                    out.data() + (first - begin));
      at += bytes;
    }
  });
}

template <class OpT>
std::string reject_cublaslt(const OpT& op, const NodeView& node, const DeviceFeatures& features,
                            DataType type) {
  if (!features.cublaslt) return "cuBLASLt: " + features.cublaslt_missing;
  if (node.inputs[0].dtype != type)
    return fmt::format("x is stored as {}", to_string(node.inputs[0].dtype));
  const auto line = static_cast<std::int64_t>(16 / size_of(type));  // 16-byte rows
  for (std::size_t i = 0; i < matrices(op); ++i) {
    const WeightUse& use = node.weights[i];
    if (use.spec != QuantSpec::floating(type))
      return fmt::format("weight of {}", to_string(use.spec));
    if (in_of(use) % line != 0 || out_of(use) % line != 0)
      return fmt::format("extents {} are no multiples of {}", to_string(use.shape), line);
  }
  for (const ValueType& output : node.outputs)
    if (output.dtype != DataType::kFloat32 && output.dtype != type)
      return fmt::format("its output is stored as {}", to_string(output.dtype));
  return {};
}

template <class OpT>
std::vector<PackedNeed> cublaslt_needs(const OpT& op, const NodeView& node) {
  const std::size_t count = matrices(op);
  std::vector<PackedNeed> needs = {joined_need(node, count)};
  for (std::size_t i = 0; op.has_bias && i < count; ++i)
    needs.push_back(float_need(node.weights[count + i]));
  return needs;
}

std::int64_t cublaslt_workspace(const Linear&, const NodeView& node, const StepSizes& limits) {
  return std::min(limits.tokens, kMostJoinedRows) * joined_row_bytes(node);
}

template <class OpT>
std::unique_ptr<CublasLtLinear> make_cublaslt(const OpT& op, const NodeView& node, Weights weights,
                                              LoadContext& load) {
  return make(op, load_matrices(op, node, weights, load));
}

std::int64_t cublaslt_workspace(const GatedLinear&, const NodeView& node, const StepSizes& limits) {
  return limits.tokens * 2 * out_of(node.weights[0]) *
         static_cast<std::int64_t>(size_of(kGateType));
}

template std::string reject_cublaslt(const Linear&, const NodeView&, const DeviceFeatures&,
                                     DataType);
template std::string reject_cublaslt(const GatedLinear&, const NodeView&, const DeviceFeatures&,
                                     DataType);
template std::vector<PackedNeed> cublaslt_needs(const Linear&, const NodeView&);
template std::vector<PackedNeed> cublaslt_needs(const GatedLinear&, const NodeView&);
template std::unique_ptr<CublasLtLinear> make_cublaslt(const Linear&, const NodeView&, Weights,
                                                       LoadContext&);
template std::unique_ptr<CublasLtLinear> make_cublaslt(const GatedLinear&, const NodeView&, Weights,
                                                       LoadContext&);

}  // namespace tenon::cuda
