// Random weights of every form, and one node run on one kernel of a list.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/cpu_kernel.h"
#include "core/half.h"

namespace tenon::cpu {

inline QuantSpec spec_of(const std::string& text) { return parse_quant_spec(text, "test"); }

/// Every form that readers and quantizers make, and odd ones that the canonical form allows.
inline std::vector<std::string> weight_forms() {
  return {
      "float32",
      "float16",
      "bfloat16",
      "float8_e4m3",
      "float8_e4m3 group row scale float32",
      "float8_e5m2 group row scale float16",
      "float8_e4m3 group 128 scale float32",
      "int8 group row scale float32",
      "int8 group 32 scale float16",
      "int8 group 128 scale bfloat16",
      "int8 group 64 scale float16 offset 128",
      "int8 group 64 scale float16 offset 100",
      "int8 group 256 scale float32",
      "int4 group row scale float16 offset 8",
      "int4 group 32 scale float16 offset 8",
      "int4 group 32 scale float16 minimum",
      "int4 group 64 scale bfloat16 minimum",
      "int4 group 128 scale float32 offset 8",
      "int4 group 192 scale float16 offset 8",
      "int4 group 4 scale float16 offset 8",
      "int4 group 2 scale float16 offset 8",
      "int5 group 32 scale float16 offset 16",
      "int5 group 32 scale float16 minimum",
      "codebook4 group 32 scale float16",
      "codebook5 group 32 scale float16",
      "int2 group 16 scale float16 minimum super 256 sub 4",
      "int3 group 16 scale float16 offset 4 super 256 sub 8 signed",
      "int4 group 32 scale float16 minimum super 256 sub 8",
      "int4 group 32 scale float16 minimum super 256 sub 8 phase 96",
      "int5 group 32 scale float16 minimum super 256 sub 8",
      "int6 group 16 scale float16 offset 32 super 256 sub 8 signed",
      "int4 group 32 scale float32 super 96 sub 4 signed",
  };
}

class RandomWeights {
 public:
  explicit RandomWeights(unsigned seed) : engine_(seed) {}

  float normal() { return std::normal_distribution<float>(0.0F, 1.0F)(engine_); }

  QuantizedTensor weight(const QuantSpec& spec, std::int64_t rows, std::int64_t columns) {
    QuantizedTensor w = QuantizedTensor::empty(spec, {rows, columns}, "test");
    if (spec.is_float()) {
      fill(w.codes, 0.05F);
      return w;
    }
    fill_bytes(w.codes);
    if (spec.kind == QuantKind::kScaledFloat) keep_numbers(spec.float_type, w.codes);
    fill(w.scale, 0.02F);
    if (spec.two_level()) fill_bytes(w.sub_scale);
    if (spec.has_minimum) fill(w.minimum, 0.1F);
    if (spec.has_minimum && spec.two_level()) fill_bytes(w.sub_minimum);
    if (spec.kind == QuantKind::kCodebook) fill_bytes(w.codebook);
    return w;
  }

  std::vector<float> floats(std::int64_t count) {
    std::vector<float> out(static_cast<std::size_t>(count));
    for (float& x : out) x = normal();
    return out;
  }

 private:
  void fill_bytes(Tensor& tensor) {
    auto* bytes = reinterpret_cast<unsigned char*>(tensor.mutable_data());
    for (std::size_t i = 0; i < tensor.bytes(); ++i)
      bytes[i] = static_cast<unsigned char>(engine_());
  }

  /// fp8 bits below 4 in magnitude, none of which is infinite or not a number.
  static void keep_numbers(DataType type, Tensor& codes) {
    const unsigned mask = type == DataType::kFloat8E4M3 ? 0xBFU : 0xC3U;
    auto* bytes = reinterpret_cast<unsigned char*>(codes.mutable_data());
    for (std::size_t i = 0; i < codes.bytes(); ++i)
      bytes[i] = static_cast<unsigned char>(bytes[i] & mask);
  }

  void fill(Tensor& tensor, float scale) {
    std::vector<float> values(tensor.bytes() / size_of(tensor.dtype()));
    for (float& v : values) v = scale * normal();
    convert_from_float(tensor.dtype(), values.data(), tensor.mutable_data(), values.size());
  }

  std::mt19937 engine_;
};

/// The list without the kernels that fp8 weights alone get, which stand before all others
/// (cpu_linear_float8_test.cpp has those).
template <class OpT>
std::span<const KernelEntry<OpT>> kernels_of_any_weight() {
  std::span<const KernelEntry<OpT>> list = kernels(static_cast<const OpT*>(nullptr));
  while (list.front().activation == DataType::kFloat8E4M3) list = list.subspan(1);
  return list;
}

/// A multiple of the form's group near `wanted`.
inline std::int64_t columns_for(const QuantSpec& spec, std::int64_t wanted) {
  const std::int64_t unit = std::max<std::int64_t>(1, spec.is_float() ? 1 : spec.group_size);
  return std::max<std::int64_t>(1, wanted / unit) * unit;
}

inline WeightUse use_of(const QuantizedTensor& weight, std::string name) {
  return {std::move(name), weight.shape, weight.spec};
}

inline NodeView linear_node(const std::vector<QuantizedTensor>& weights, std::size_t outputs) {
  NodeView node;
  node.inputs = {
      ValueType::tensor(DataType::kFloat32, {Dim(Symbol::kTokens), Dim(weights[0].columns())})};
  for (std::size_t i = 0; i < outputs; ++i)
    node.outputs.push_back(
        ValueType::tensor(DataType::kFloat32, {Dim(Symbol::kTokens), Dim(weights[i].rows())}));
  for (std::size_t i = 0; i < weights.size(); ++i)
    node.weights.push_back(use_of(weights[i], "w" + std::to_string(i)));
  return node;
}

/// One kernel with its node, run on any number of rows.
template <class OpT>
class KernelUnderTest {
 public:
  KernelUnderTest(const KernelEntry<OpT>& entry, const OpT& op, const NodeView& node,
                  const std::vector<QuantizedTensor>& weights, ThreadPool& pool)
      : node_(node), pool_(pool), kernel_(entry.make(op, node, weights, pool)) {
    if (entry.planned_bytes != nullptr) {
      EXPECT_EQ(entry.planned_bytes(op, node), kernel_->packed_bytes()) << entry.name;
    }
    const StepSizes limits{.tokens = 130};
    if (entry.planned_workspace != nullptr) {
      EXPECT_EQ(entry.planned_workspace(op, node, limits, pool.size()),
                kernel_->workspace_bytes(limits, pool.size()));
    }
  }

  std::vector<std::vector<float>> run(const std::vector<float>& x, std::int64_t rows) const {
    const std::int64_t width = node_.inputs[0].shape[1].extent;
    Tensor input(DataType::kFloat32, {rows, width});
    if (rows > 0) std::memcpy(input.mutable_data(), x.data(), input.bytes());
    const TensorRef in{input.mutable_data(), DataType::kFloat32, rows, width};
    std::vector<Tensor> results;
    std::vector<TensorRef> outs;
    for (const ValueType& type : node_.outputs) {
      const std::int64_t columns = type.shape[1].extent;
      results.emplace_back(DataType::kFloat32, Shape{rows, columns});
      outs.push_back({results.back().mutable_data(), DataType::kFloat32, rows, columns});
    }
    const std::int64_t bytes = kernel_->workspace_bytes({.tokens = rows}, pool_.size());
    Tensor workspace(DataType::kUInt8, {bytes});
    std::memset(workspace.mutable_data(), 0xFF, workspace.bytes());  // no numbers
    const Batch batch;
    StepContext step{pool_, batch, nullptr, nullptr, {workspace.mutable_data(), workspace.bytes()}};
    kernel_->run({&in, 1}, outs, step);
    std::vector<std::vector<float>> values;
    for (Tensor& result : results)
      values.emplace_back(result.mutable_as<float>(),
                          result.mutable_as<float>() + result.bytes() / sizeof(float));
    return values;
  }

 private:
  NodeView node_;
  ThreadPool& pool_;
  std::unique_ptr<CpuKernel> kernel_;
};

/// Largest difference that rounding may make in one output: a share of the sum of the terms'
/// magnitudes, taken from above.
inline float tolerance(const QuantizedTensor& weight, std::int64_t row, const float* x,
                       DataType activation) {
  std::vector<float> w(static_cast<std::size_t>(weight.columns()));
  dequantize_row(weight, row, 0, weight.columns(), w.data());
  float largest = 0.0F;
  for (const float v : w) largest = std::max(largest, std::abs(v));
  double sum = 0.0;
  for (std::size_t k = 0; k < w.size(); ++k) sum += std::abs(x[k]) * largest;
  double share = 1e-6;
  if (activation == DataType::kBFloat16)
    share = 9e-3 / std::sqrt(std::sqrt(static_cast<double>(w.size())));
  if (activation == DataType::kInt8)
    share = 2e-2 / std::sqrt(std::sqrt(static_cast<double>(w.size())));
  return static_cast<float>(share * sum + 1e-30);
}

}  // namespace tenon::cpu
