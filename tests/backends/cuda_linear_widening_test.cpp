// The products that widen codes on their way (Hopper), in every plan, against the CPU's fp32
// references.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/linear_widening.h"
#include "cpu_linear_support.h"
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

using cpu::RandomWeights;
using cpu::spec_of;

#define TENON_NEEDS_HOPPER() \
  TENON_NEEDS_GPU();         \
  if (!test_features().hopper()) GTEST_SKIP() << "NOT TESTED, needs compute capability 9.0"

struct WideningCase {
  std::string form;
  std::int64_t columns = 256;
  std::vector<std::int64_t> widths = {80};  // of segments
  bool gated = false;
  bool bias = false;
  DataType output = DataType::kFloat32;
  bool centred = false;  ///< minima of -7.5 scales, as weights about zero have
};

void centre(QuantizedTensor& weight) {
  auto* const minima = weight.minimum.mutable_as<std::uint16_t>();
  const auto* const scales = weight.scale.view().as<std::uint16_t>();
  for (std::int64_t i = 0; i < weight.minimum.view().elements(); ++i)
    minima[i] = float_to_fp16(-7.5F * fp16_to_float(scales[i]));
}

/// A node's matrices on the device, and what its outputs should be.
class WideningNode {
 public:
  explicit WideningNode(const WideningCase& c) : case_(c) {
    RandomWeights random(31);
    for (const std::int64_t width : c.widths) {
      weights_.push_back(random.weight(spec_of(c.form), width, c.columns));
      if (c.centred) centre(weights_.back());
    }
    for (std::size_t i = 0; i < c.widths.size(); ++i) {
      biases_.push_back(random_tensor({c.widths[i]}, 5 + static_cast<unsigned>(i)));
      node_.weights.push_back({"w" + std::to_string(i), weights_[i].shape, weights_[i].spec});
    }
    const PackedForm form = packed_form(node_, weights_.size(), DataType::kBFloat16);
    EXPECT_EQ(form.why, "") << c.form;
    std::vector<float> joined;
    for (const Tensor& bias : biases_)
      joined.insert(joined.end(), bias.view().as<float>(),
                    bias.view().as<float>() + bias.view().elements());
    std::vector<PackedNeed> needs = packed_needs(node_, weights_.size(), form.matrix);
    needs.push_back({"bias", static_cast<std::int64_t>(joined.size() * sizeof(float))});
    LoadContext load(planned_bytes(needs), test_features(), test_pool());
    GemvArguments& a = arguments_;
    a.matrix = load_packed(node_, weights_, weights_.size(), form.matrix, load);
    const std::byte* const bias = load.get("bias", std::as_bytes(std::span(joined)));
    if (c.bias) a.bias = reinterpret_cast<const float*>(bias);
    memory_ = load.finish();
    a.rows = static_cast<std::int32_t>(form.matrix.rows);
    a.columns = static_cast<std::int32_t>(form.matrix.columns);
    if (form.matrix.step == ScaleStep::kRow)
      a.row_scale = static_cast<const float*>(a.matrix.scale);
    a.gated = c.gated;
    a.kind = ActivationKind::kSilu;
    if (c.gated) a.up_begin = static_cast<std::int32_t>(c.widths[0]);
  }
  const GemvArguments& arguments() const { return arguments_; }

  /// With `multiprocessors` of plan_widening().
  std::vector<Tensor> run(const Tensor& x, int multiprocessors) {
    const std::int64_t rows = x.shape()[0];
    const DeviceTensor input(x, DataType::kBFloat16);
    std::vector<DeviceTensor> outputs;
    for (const std::int64_t width : case_.widths) {
      outputs.emplace_back(case_.output, Shape{rows, width});
      if (case_.gated) break;
    }
    GemvArguments a = arguments_;
    a.x = input.ref().as<const std::uint8_t>();
    a.x_rows = rows;
    a.segments = static_cast<std::int32_t>(outputs.size());
    std::int32_t begin = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      a.out[i] = {outputs[i].ref().data, case_.widths[i], begin, case_.output};
      begin += static_cast<std::int32_t>(case_.widths[i]);
    }
    const DeviceTensor workspace(DataType::kUInt8, {widening_workspace(a.columns, rows)});
    const Stream stream;
    launch_widening(a, plan_widening(a, test_features(), multiprocessors), workspace.ref().data,
                    stream.get());
    check(cudaStreamSynchronize(stream.get()), "test");
    std::vector<Tensor> out;
    for (const DeviceTensor& output : outputs) out.push_back(output.fetch());
    return out;
  }

  /// The sum of segment `segment`, in double precision, and what rounding may make of it.
  struct Sum {
    double value = 0;
    double limit = 0;
  };
  Sum sum(std::size_t segment, std::int64_t row, const float* x) const {
    const QuantizedTensor& weight = weights_[segment];
    std::vector<float> w(static_cast<std::size_t>(case_.columns));
    dequantize_row(weight, row, 0, case_.columns, w.data());
    Sum out;
    for (std::size_t k = 0; k < w.size(); ++k)
      out.value += static_cast<double>(w[k]) * static_cast<double>(x[k]);
    // Codes of rows under one scale are exact; codes times groups' scales are rounded.
    const bool rounds = arguments_.matrix.step != ScaleStep::kRow;
    out.limit = static_cast<double>(
        cpu::tolerance(weight, row, x, rounds ? DataType::kBFloat16 : DataType::kFloat32));
    if (case_.bias) out.value += static_cast<double>(biases_[segment].view().as<float>()[row]);
    return out;
  }

  /// The same of the first segment, its weights rounded to bfloat16.
  double sum_of_rounded_weights(std::int64_t row, const float* x) const {
    std::vector<float> w(static_cast<std::size_t>(case_.columns));
    dequantize_row(weights_[0], row, 0, case_.columns, w.data());
    double out = 0;
    for (std::size_t k = 0; k < w.size(); ++k)
      out += static_cast<double>(bf16_to_float(float_to_bf16(w[k]))) * static_cast<double>(x[k]);
    return out;
  }

 private:
  WideningCase case_;
  NodeView node_;
  std::vector<QuantizedTensor> weights_;
  std::vector<Tensor> biases_;
  DeviceBuffer memory_;
  GemvArguments arguments_;
};

std::string label_of(const WideningCase& c) {
  return fmt::format("{} {} columns{}{}", c.form, c.columns, c.gated ? " gated" : "",
                     c.bias ? " bias" : "");
}

double silu(double x) { return x / (1 + std::exp(-x)); }

void expect_widening_agrees(const WideningCase& c, std::int64_t rows, int multiprocessors) {
  WideningNode node(c);
  const Tensor x = rounded_to(random_tensor({rows, c.columns}, 3), DataType::kBFloat16);
  const std::vector<Tensor> got = node.run(x, multiprocessors);
  const double rounding = static_cast<double>(rounding_of(c.output));
  for (std::size_t s = 0; s < got.size(); ++s)
    for (std::int64_t m = 0; m < rows; ++m)
      for (std::int64_t row = 0; row < c.widths[s]; ++row) {
        const float* const at = x.view().as<float>() + m * c.columns;
        WideningNode::Sum expected = node.sum(s, row, at);
        if (c.gated) {
          const WideningNode::Sum up = node.sum(1, row, at);
          expected.limit = 1.2 * expected.limit * std::abs(up.value) +
                           (std::abs(silu(expected.value)) + expected.limit) * up.limit;
          expected.value = silu(expected.value) * up.value;
        }
        const double value = static_cast<double>(got[s].view().as<float>()[m * c.widths[s] + row]);
        const double limit = expected.limit + 1e-6 + rounding * std::abs(expected.value);
        ASSERT_LE(std::abs(value - expected.value), limit)
            << label_of(c) << " on " << multiprocessors << " rows " << rows << ": segment " << s
            << " row " << m << " output " << row;
      }
}

TEST(CudaLinearWidening, EveryForm) {
  TENON_NEEDS_HOPPER();
  for (const char* form :
       {"float8_e4m3", "float8_e4m3 group row scale float32", "int8 group row scale float32",
        "int8 group 32 scale float16", "int8 group 64 scale float16 offset 128",
        "int8 group 128 scale bfloat16", "int8 group 256 scale float32",
        "int4 group row scale float16 offset 8", "int4 group 32 scale float16 offset 8",
        "int4 group 32 scale float16 minimum", "int4 group 64 scale bfloat16 minimum",
        "int4 group 128 scale bfloat16 offset 8", "int4 group 128 scale float32 offset 8",
        "int4 group 32 scale float16 minimum super 256 sub 8"})
    expect_widening_agrees({form, 256}, 17, 0);
}

// Weights as bfloat16 are what a product of many rows may be off by, not their group's minimum.
TEST(CudaLinearWidening, MinimaCostNoMoreThanRoundedWeights) {
  TENON_NEEDS_HOPPER();
  WideningCase c{"int4 group 32 scale float16 minimum", 512};
  c.centred = true;
  WideningNode node(c);
  const Tensor x = rounded_to(random_tensor({17, c.columns}, 3), DataType::kBFloat16);
  const Tensor got = node.run(x, 0)[0];
  double error = 0;
  double rounded = 0;
  for (std::int64_t m = 0; m < 17; ++m)
    for (std::int64_t row = 0; row < c.widths[0]; ++row) {
      const float* const at = x.view().as<float>() + m * c.columns;
      const double exact = node.sum(0, row, at).value;
      const double value = static_cast<double>(got.view().as<float>()[m * c.widths[0] + row]);
      error += (value - exact) * (value - exact);
      const double off = node.sum_of_rounded_weights(row, at) - exact;
      rounded += off * off;
    }
  EXPECT_LE(error, 1.3 * rounded);
}

// Columns that end within a line, rows within a tile of x and of the matrix.
TEST(CudaLinearWidening, OddExtents) {
  TENON_NEEDS_HOPPER();
  for (const std::int64_t rows : {1, 64, 65, 97, 129, 193, 257})
    expect_widening_agrees({"float8_e4m3 group row scale float32", 200, {33}}, rows, 0);
  expect_widening_agrees({"int4 group 64 scale bfloat16 minimum", 320, {33}}, 65, 0);
  expect_widening_agrees({"int4 group 32 scale float16 offset 8", 288, {129}}, 300, 0);
  expect_widening_agrees({"int4 group 128 scale bfloat16 offset 8", 128, {1}}, 17, 0);
}

// Tiles whole and in parts, several to a block and several blocks to one; chunks more than stages.
TEST(CudaLinearWidening, EveryShare) {
  TENON_NEEDS_HOPPER();
  for (const int multiprocessors : {1, 2, 3, 5, 132}) {
    expect_widening_agrees({"int8 group row scale float32", 1344, {300}, false, true}, 17,
                           multiprocessors);
    expect_widening_agrees({"int4 group 128 scale bfloat16 offset 8", 1536, {300}}, 66,
                           multiprocessors);
    expect_widening_agrees({"float8_e4m3", 384, {140, 140}, true}, 17, multiprocessors);
  }
}

TEST(CudaLinearWidening, SegmentsGatesAndOutputs) {
  TENON_NEEDS_HOPPER();
  for (const DataType output : {DataType::kFloat32, DataType::kBFloat16, DataType::kFloat16}) {
    for (const char* form : {"float8_e4m3", "int4 group 32 scale float16 offset 8"}) {
      expect_widening_agrees({form, 128, {96, 32, 40}, false, true, output}, 20, 0);
      for (const bool bias : {false, true})
        expect_widening_agrees({form, 128, {88, 88}, true, bias, output}, 20, 0);
    }
    expect_widening_agrees({"float8_e4m3", 128, {88, 88}, true, true, output}, 130, 0);
  }
}

// Needs no GPU: no more blocks than multiprocessors, and what plans ask of workspace is there.
TEST(CudaLinearWidening, PlansFitTheirWorkspace) {
  DeviceFeatures features;
  features.capability = 90;
  for (const int multiprocessors : {78, 114, 132, 144}) {
    features.multiprocessors = multiprocessors;
    for (const CodeKind kind : {CodeKind::kFloat8, CodeKind::kInt4})
      for (const std::int32_t outputs : {1, 100, 4096, 6144, 28672})
        for (const std::int64_t rows : {17, 65, 129, 200, 257, 300, 512})
          for (const bool gated : {false, true}) {
            GemvArguments a;
            a.matrix.kind = kind;
            a.rows = outputs * (gated ? 2 : 1);
            a.columns = 4096;
            a.gated = gated;
            a.up_begin = outputs;
            a.x_rows = rows;
            const WideningPlan plan = plan_widening(a, features);
            EXPECT_GE(plan.width * 2, rows);
            EXPECT_LE(plan.blocks, multiprocessors);
            const std::int64_t parts =
                std::int64_t{4} * kWideningTileRows * plan.width * 2 * plan.blocks;
            EXPECT_LE(
                rows * widening_x_bytes(a.columns) + (plan.parts ? parts : 0),
                std::min(widening_workspace(a.columns, rows), widening_workspace(a.columns, 4096)));
          }
  }
}

}  // namespace
}  // namespace tenon::cuda
