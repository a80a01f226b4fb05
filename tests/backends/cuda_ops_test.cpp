// CUDA kernels that map elements or rows, against the CPU's fp32 references.
// SPDX-License-Identifier: Apache-2.0
#include "cuda_support.h"

namespace tenon::cuda {
namespace {

const std::vector<Shape> kShapes = {{1, 1},    {1, 7},     {3, 64}, {5, 100},
                                    {2, 1000}, {33, 4096}, {0, 8}};

TEST(CudaOps, Activation) {
  TENON_NEEDS_GPU();
  for (int kind = 0; kind <= static_cast<int>(ActivationKind::kTanh); ++kind)
    for (const Shape& shape : kShapes)
      expect_device_agrees(Activation{static_cast<ActivationKind>(kind)},
                           {.inputs = {random_tensor(shape, 1, 3.F)}}, 2e-6F,
                           std::to_string(kind) + to_string(shape));
}

TEST(CudaOps, GatedActivation) {
  TENON_NEEDS_GPU();
  for (const Shape& shape : kShapes)
    expect_device_agrees(GatedActivation{ActivationKind::kSilu},
                         {.inputs = {random_tensor(shape, 1, 3.F), random_tensor(shape, 2, 3.F)}},
                         2e-6F, to_string(shape));
}

TEST(CudaOps, AddMulScaleSoftcapCast) {
  TENON_NEEDS_GPU();
  for (const Shape& shape : kShapes) {
    const Tensor a = random_tensor(shape, 1, 3.F);
    const Tensor b = random_tensor(shape, 2, 3.F);
    expect_device_agrees(Add{}, {.inputs = {a, b}}, 0.F, to_string(shape));
    expect_device_agrees(Mul{}, {.inputs = {a, b}}, 0.F, to_string(shape));
    expect_device_agrees(Scale{0.3F}, {.inputs = {a}}, 0.F, to_string(shape));
    expect_device_agrees(Softcap{2.F}, {.inputs = {a}}, 2e-6F, to_string(shape));
    expect_device_agrees(Cast{DataType::kFloat32}, {.inputs = {a}}, 0.F, to_string(shape));
  }
}

TEST(CudaOps, ConcatSliceGather) {
  TENON_NEEDS_GPU();
  const Tensor a = random_tensor({5, 33}, 1);
  const Tensor b = random_tensor({5, 300}, 2);
  expect_device_agrees(Concat{}, {.inputs = {a, b, a}}, 0.F);
  expect_device_agrees(Slice{.begin = 7, .end = 299}, {.inputs = {b}}, 0.F);
  expect_device_agrees(GatherRows{}, {.inputs = {b, int_tensor({4, 0, 0, 2})}}, 0.F);
}

TEST(CudaOps, Norm) {
  TENON_NEEDS_GPU();
  for (const std::int64_t width : {1, 8, 24, 100, 576, 4096})
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer, NormKind::kGroup})
      for (const bool bias : {false, true}) {
        if (kind == NormKind::kGroup && width % 4 != 0) continue;
        OpCase c{.inputs = {random_tensor({9, width}, 1, 2.F)},
                 .weights = {random_tensor({width}, 2)}};
        if (bias) c.weights.push_back(random_tensor({width}, 3));
        const Norm op{.kind = kind,
                      .groups = kind == NormKind::kGroup ? 4 : 1,
                      .weight_offset = bias ? 1.F : 0.F,
                      .has_bias = bias};
        expect_device_agrees(op, c, 1e-5F, describe(Op(op)) + " " + std::to_string(width));
      }
}

TEST(CudaOps, AddNorm) {
  TENON_NEEDS_GPU();
  for (const std::int64_t width : {1, 24, 576, 4096})
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
      const OpCase c{.inputs = {random_tensor({9, width}, 1, 2.F), random_tensor({9, width}, 4)},
                     .weights = {random_tensor({width}, 2), random_tensor({width}, 3)}};
      expect_device_agrees(AddNorm{.kind = kind, .has_bias = true}, c, 1e-5F,
                           std::to_string(width));
    }
}

// More rows than the device has at once: another variant of the same sums.
TEST(CudaOps, NormsOfManyRows) {
  TENON_NEEDS_GPU();
  const std::int64_t rows = 6 * std::int64_t{test_features().multiprocessors} + 5;
  for (const std::int64_t width : {24, 136}) {
    const OpCase c{
        .inputs = {random_tensor({rows, width}, 1, 2.F), random_tensor({rows, width}, 4)},
        .weights = {random_tensor({width}, 2), random_tensor({width}, 3)}};
    expect_device_agrees(AddNorm{.kind = NormKind::kLayer, .has_bias = true}, c, 1e-5F,
                         std::to_string(width));
    expect_device_agrees(Norm{}, {.inputs = {c.inputs[0]}, .weights = {c.weights[0]}}, 1e-5F,
                         std::to_string(width));
  }
}

std::vector<float> frequencies(std::int64_t pairs) {
  std::vector<float> out;
  for (std::int64_t i = 0; i < pairs; ++i)
    out.push_back(std::pow(10000.F, -static_cast<float>(i) / static_cast<float>(pairs)));
  return out;
}

TEST(CudaOps, Rope) {
  TENON_NEEDS_GPU();
  for (const RopeStyle style : {RopeStyle::kNeox, RopeStyle::kGptj})
    for (const RopeLength length : {RopeLength::kFixed, RopeLength::kSwitch, RopeLength::kDynamic})
      for (const std::int64_t rotary : {4, 8, 64}) {
        Rope op{.heads = 3, .head_dim = 64, .rotary_dim = rotary, .style = style, .length = length};
        op.inv_freq = frequencies(rotary / 2);
        op.original_length = 40;
        op.dynamic_factor = 2.F;
        op.amplitude = 1.1F;
        op.long_amplitude = 1.3F;
        if (length == RopeLength::kSwitch) {
          op.long_inv_freq = frequencies(rotary / 2);
          for (float& f : op.long_inv_freq) f *= 0.25F;
        }
        OpCase c;
        c.batch = make_batch({30, 0, 200}, {1, 7, 4});  // sequences short and beyond the original
        c.inputs = {random_tensor({12, 3 * 64}, 1), int_tensor(c.batch.positions)};
        expect_device_agrees(op, c, 2e-5F, describe(Op(op)));
      }
}

}  // namespace
}  // namespace tenon::cuda
