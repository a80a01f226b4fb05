// Norms, activations, elementwise ops and row movers: references against formulas written here,
// every other kernel against its reference.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/ref/reference.h"
#include "core/half.h"
#include "op_harness.h"

namespace tenon::cpu {
namespace {

constexpr std::int64_t kWidths[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100, 576, 1000};

double at(const Tensor& t, std::int64_t i) { return static_cast<double>(t.view().as<float>()[i]); }

TEST(CpuNorm, ReferenceIsTheFormula) {
  for (const NormKind kind : {NormKind::kRms, NormKind::kLayer, NormKind::kGroup}) {
    const Norm op{.kind = kind,
                  .eps = 1e-3F,
                  .groups = kind == NormKind::kGroup ? 3 : 1,
                  .weight_offset = 1.F,
                  .has_bias = true};
    const OpCase c{.inputs = {random_tensor({4, 12}, 1, 3.F)},
                   .weights = {random_tensor({12}, 2), random_tensor({12}, 3)}};
    const Tensor got = run_reference(op, c)[0];
    const std::int64_t size = 12 / op.groups;
    for (std::int64_t row = 0; row < 4; ++row)
      for (std::int64_t i = 0; i < 12; ++i) {
        const std::int64_t first = row * 12 + i / size * size;
        double mean = 0;
        double square = 0;
        for (std::int64_t j = 0; j < size; ++j) {
          mean += at(c.inputs[0], first + j) / static_cast<double>(size);
          square +=
              at(c.inputs[0], first + j) * at(c.inputs[0], first + j) / static_cast<double>(size);
        }
        if (kind == NormKind::kRms) mean = 0;
        const double normed =
            (at(c.inputs[0], row * 12 + i) - mean) / std::sqrt(square - mean * mean + 1e-3);
        EXPECT_NEAR(at(got, row * 12 + i),
                    normed * (at(c.weights[0], i) + 1.0) + at(c.weights[1], i), 1e-5);
      }
  }
}

TEST(CpuNorm, KernelsAgree) {
  for (const std::int64_t width : kWidths)
    for (const std::int64_t rows : {0, 1, 5})
      for (const NormKind kind : {NormKind::kRms, NormKind::kLayer, NormKind::kGroup})
        for (const bool bias : {false, true}) {
          const bool grouped = kind == NormKind::kGroup && width % 4 == 0;
          const Norm op{.kind = kind, .groups = grouped ? 4 : 1, .has_bias = bias};
          OpCase c{.inputs = {random_tensor({rows, width}, 7, 2.F)},
                   .weights = {random_tensor({width}, 8)}};
          if (bias) c.weights.push_back(random_tensor({width}, 9));
          expect_kernels_agree(op, c, 3e-5F, std::to_string(width));
          if (kind == NormKind::kGroup) continue;
          const AddNorm fused{.kind = kind, .has_bias = bias};
          c.inputs.push_back(random_tensor({rows, width}, 10));
          expect_kernels_agree(fused, c, 3e-5F, std::to_string(width));
        }
}

TEST(CpuNorm, AddNormIsAddThenNorm) {
  const OpCase c{.inputs = {random_tensor({3, 20}, 1), random_tensor({3, 20}, 2)},
                 .weights = {random_tensor({20}, 3)}};
  const AddNorm fused{.weight_offset = 0.5F};
  const auto got = run_reference(fused, c);
  const Tensor sum = run_reference(Add{}, {.inputs = c.inputs})[0];
  const Tensor normed =
      run_reference(Norm{.weight_offset = 0.5F}, {.inputs = {sum}, .weights = c.weights})[0];
  expect_close(got[0], sum, 0.F, "sum");
  expect_close(got[1], normed, 0.F, "normed");
}

constexpr ActivationKind kKinds[] = {
    ActivationKind::kIdentity,  ActivationKind::kRelu,    ActivationKind::kRelu2,
    ActivationKind::kSilu,      ActivationKind::kGelu,    ActivationKind::kGeluTanh,
    ActivationKind::kQuickGelu, ActivationKind::kSigmoid, ActivationKind::kTanh};

double formula(ActivationKind kind, double x) {
  const auto sigmoid = [](double y) { return 1.0 / (1.0 + std::exp(-y)); };
  switch (kind) {
    case ActivationKind::kIdentity: return x;
    case ActivationKind::kRelu: return std::max(x, 0.0);
    case ActivationKind::kRelu2: return std::max(x, 0.0) * std::max(x, 0.0);
    case ActivationKind::kSilu: return x * sigmoid(x);
    case ActivationKind::kGelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case ActivationKind::kGeluTanh:
      return x * 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kQuickGelu: return x * sigmoid(1.702 * x);
    case ActivationKind::kSigmoid: return sigmoid(x);
    case ActivationKind::kTanh: return std::tanh(x);
  }
  return 0;
}

TEST(CpuActivation, EveryKernelIsTheFormula) {
  std::vector<float> values;
  for (float x = -30.F; x <= 30.F; x += 0.01F) values.push_back(x);
  for (const float x : {0.F, -0.F, 1e-20F, -1e-6F, 100.F, -100.F, 1e30F, -1e30F})
    values.push_back(x);
  const OpCase c{
      .inputs = {Tensor::from_floats({1, static_cast<std::int64_t>(values.size())}, values)}};
  for (const ActivationKind kind : kKinds) {
    Tensor expected(DataType::kFloat32, c.inputs[0].shape());
    for (std::size_t i = 0; i < values.size(); ++i)
      expected.mutable_as<float>()[i] = static_cast<float>(formula(kind, values[i]));
    each_kernel(Activation{kind}, c, [&](const auto& entry) {
      const Tensor got = run_kernel(entry, Activation{kind}, c)[0];
      expect_close(got, expected, 1e-6F,
                   entry.name + std::string(" ") + kActivationKindNames[static_cast<int>(kind)]);
    });
  }
}

TEST(CpuActivation, InfinityAndNan) {
  const float inf = std::numeric_limits<float>::infinity();
  const OpCase c{.inputs = {Tensor::from_floats({1, 3}, std::vector<float>{inf, NAN, 1.F})}};
  each_kernel(Activation{}, c, [&](const auto& entry) {
    const Tensor got = run_kernel(entry, Activation{}, c)[0];
    EXPECT_EQ(got.view().as<float>()[0], inf) << entry.name;
    EXPECT_TRUE(std::isnan(got.view().as<float>()[1])) << entry.name;
  });
}

TEST(CpuActivation, KernelsAgree) {
  for (const std::int64_t width : kWidths)
    for (const ActivationKind kind : kKinds) {
      const OpCase two{.inputs = {random_tensor({3, width}, 1, 4.F), random_tensor({3, width}, 2)}};
      expect_kernels_agree(GatedActivation{kind}, two, 2e-6F);
      expect_kernels_agree(Activation{kind}, {.inputs = {two.inputs[0]}}, 2e-6F);
    }
  expect_kernels_agree(Softcap{5.F}, {.inputs = {random_tensor({2, 333}, 4, 10.F)}}, 2e-6F);
  const OpCase none{.inputs = {random_tensor({0, 5}, 1), random_tensor({0, 5}, 1)}};
  expect_kernels_agree(GatedActivation{}, none, 0.F);
}

TEST(CpuElementwise, References) {
  const OpCase c{.inputs = {random_tensor({2, 5}, 1), random_tensor({2, 5}, 2)}};
  const OpCase one{.inputs = {c.inputs[0]}};
  const Tensor sum = run_reference(Add{}, c)[0];
  const Tensor product = run_reference(Mul{}, c)[0];
  const Tensor scaled = run_reference(Scale{-2.5F}, one)[0];
  const Tensor capped = run_reference(Softcap{0.7F}, one)[0];
  const Tensor gated = run_reference(GatedActivation{ActivationKind::kSilu}, c)[0];
  for (std::int64_t i = 0; i < 10; ++i) {
    const double a = at(c.inputs[0], i);
    const double b = at(c.inputs[1], i);
    EXPECT_NEAR(at(sum, i), a + b, 1e-6);
    EXPECT_NEAR(at(product, i), a * b, 1e-6);
    EXPECT_NEAR(at(scaled, i), -2.5 * a, 1e-6);
    EXPECT_NEAR(at(capped, i), 0.7 * std::tanh(a / 0.7), 1e-6);
    EXPECT_NEAR(at(gated, i), a / (1 + std::exp(-a)) * b, 1e-6);
  }
}

TEST(CpuRows, ConcatSliceGather) {
  const Tensor a = random_tensor({3, 2}, 1);
  const Tensor b = random_tensor({3, 4}, 2);
  const Tensor joined = run_reference(Concat{}, {.inputs = {a, b}})[0];
  const Tensor back = run_reference(Slice{.begin = 2, .end = 6}, {.inputs = {joined}})[0];
  expect_close(back, b, 0.F, "slice of concat");
  OpCase gather{.inputs = {b, int_tensor({2, 0, 2})}};
  const Tensor rows = run_reference(GatherRows{}, gather)[0];
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(at(rows, i), at(b, 8 + i));
    EXPECT_EQ(at(rows, 4 + i), at(b, i));
    EXPECT_EQ(at(rows, 8 + i), at(b, 8 + i));
  }
}

TEST(CpuRows, CastRoundsToNearestEven) {
  const OpCase c{.inputs = {random_tensor({3, 301}, 1, 100.F)}};
  for (const DataType type : {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32}) {
    const Tensor there = run_reference(Cast{type}, c)[0];
    EXPECT_EQ(there.dtype(), type);
    const Tensor back = run_reference(Cast{DataType::kFloat32}, {.inputs = {there}})[0];
    for (std::int64_t i = 0; i < 903; ++i) {
      const float x = c.inputs[0].view().as<float>()[i];
      const float expected = type == DataType::kFloat16    ? fp16_to_float(float_to_fp16(x))
                             : type == DataType::kBFloat16 ? bf16_to_float(float_to_bf16(x))
                                                           : x;
      EXPECT_EQ(back.view().as<float>()[i], expected);
    }
  }
}

TEST(CpuRows, RejectsOtherTypesByName) {
  const Norm op;
  NodeView view;
  view.inputs = {ValueType::tensor(DataType::kBFloat16, {4, 8})};
  for (const auto& entry : all_kernels<Norm>())
    EXPECT_NE(entry.reject(op, view, CpuFeatures::detect()).find("bfloat16"), std::string::npos);
}

}  // namespace
}  // namespace tenon::cpu
