// Products of fp8 rows: scales within them, where cuBLASLt has that, and without; rounding rows;
// the launches that follow. (Whole kernels: cuda_linear_test.cpp; their ways:
// cuda_tactics_test.cpp.)
// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <cmath>

#include "backends/cuda/device/epilogue.h"
#include "backends/cuda/kernel_choice.h"
#include "backends/cuda/linear_float8.h"
#include "cpu_linear_support.h"
#include "cuda_support.h"

#include <gmock/gmock.h>

namespace tenon::cuda {
namespace {

using cpu::spec_of;
using testing::HasSubstr;

constexpr auto kFloat8 = DataType::kFloat8E4M3;
const char* const kRowScales = "float8_e4m3 group row scale float32";

// ---------------------------------------------------------------- which kernel: needs no GPU

DeviceFeatures hopper() {
  DeviceFeatures features;
  features.capability = 90;
  features.cublaslt = true;
  features.scaled_to_bfloat16 = features.scaled_to_float32 = true;
  return features;
}

template <class OpT>
ChosenKernel chosen(const OpT& op, const std::vector<std::int64_t>& widths, DataType output,
                    const DeviceFeatures& features) {
  ProgramDescription program;
  program.policy.activation = kFloat8;
  program.values = {{"x", ValueType::tensor(DataType::kBFloat16, {Symbol::kTokens, 256}), 0}};
  ProgramNode node{op, {0}, {}, {}};
  for (const std::int64_t width : widths) {
    node.weights.push_back(static_cast<int>(program.weights.size()));
    program.weights.push_back({"w", {width, 256}, spec_of(kRowScales)});
    if (OpT::kName == GatedLinear::kName && program.values.size() == 2) continue;
    node.outputs.push_back(static_cast<int>(program.values.size()));
    program.values.push_back({"y", ValueType::tensor(output, {Symbol::kTokens, width}), 0});
  }
  std::vector<DataType> storage;
  for (const ProgramValue& value : program.values) storage.push_back(value.type.dtype);
  return choose_kernel(program, storage, node, features);
}

std::string why_not_scaled(const ChosenKernel& kernel) {
  for (const auto& [name, reason] : kernel.choice.rejected)
    if (name == "linear_fp8" || name == "gated_linear_fp8") return reason;
  return {};
}

TEST(CudaFloat8, WhereLibraryOrDeviceHasNoScaledProductsSumsAreChosen) {
  const Linear down;
  DeviceFeatures features = hopper();
  EXPECT_EQ(chosen(down, {64}, DataType::kFloat32, features).choice.kernel, "linear_fp8");
  features.scaled_to_float32 = false;
  features.scaled_missing = "an old library";
  const ChosenKernel other = chosen(down, {64}, DataType::kFloat32, features);
  EXPECT_EQ(other.choice.kernel, "linear_fp8_sums");
  EXPECT_EQ(why_not_scaled(other), "scales in the products: an old library");
  // Gate and up are a product in bfloat16, whatever the output is.
  const GatedLinear gated;
  EXPECT_EQ(chosen(gated, {64, 64}, DataType::kFloat32, features).choice.kernel,
            "gated_linear_fp8");
  features.scaled_to_bfloat16 = false;
  EXPECT_EQ(chosen(gated, {64, 64}, DataType::kFloat32, features).choice.kernel,
            "gated_linear_fp8_sums");
}

TEST(CudaFloat8, SegmentsAreApartOrJoinedOrSums) {
  const Linear qkv{.segments = 2};
  const auto kernel = [&](const std::vector<std::int64_t>& widths, DataType output) {
    return chosen(qkv, widths, output, hopper()).choice.kernel;
  };
  EXPECT_EQ(kernel({64, 32}, DataType::kBFloat16), "linear_fp8");
  EXPECT_EQ(kernel({56, 40}, DataType::kBFloat16), "linear_fp8");  // joined alone
  const ChosenKernel narrow = chosen(qkv, {60, 36}, DataType::kBFloat16, hopper());
  EXPECT_EQ(narrow.choice.kernel, "linear_fp8_sums");
  EXPECT_THAT(why_not_scaled(narrow), HasSubstr("no multiples of 16"));
  EXPECT_EQ(kernel({64, 32}, DataType::kFloat16), "linear_fp8_sums");
}

// ---------------------------------------------------------------- products

struct Products {
  static constexpr std::int64_t kColumns = 256;
  explicit Products(std::int64_t rows, std::int64_t width) : rows(rows), width(width) {
    std::uint32_t state = 7;
    const auto next = [&] { return state = state * 1664525U + 1013904223U; };
    const auto codes = [&](std::int64_t count) {
      Tensor out(DataType::kUInt8, {count});
      for (std::int64_t i = 0; i < count; ++i)  // within ±28: no NaN among them
        out.mutable_as<std::uint8_t>()[i] = static_cast<std::uint8_t>((next() >> 24) & 0xDFU);
      return out;
    };
    const auto scales = [&](std::int64_t count) {  // so far apart that a wrong one is seen
      Tensor out(DataType::kFloat32, {count});
      for (std::int64_t i = 0; i < count; ++i)
        out.mutable_as<float>()[i] = std::ldexp(1.F + static_cast<float>(next() >> 8) * 0x1p-24F,
                                                static_cast<int>(i % 11) - 5);
      return out;
    };
    x = codes(rows * kColumns);
    w = codes(width * kColumns);
    x_scales = scales(rows);
    w_scales = scales(width);
  }
  Tensor multiplied(DataType output, bool scaled, const Tensor& of_x, const Tensor& of_w) const {
    const DeviceTensor device_x(x, DataType::kUInt8);
    const DeviceTensor device_w(w, DataType::kUInt8);
    const DeviceTensor device_of_x(of_x, DataType::kFloat32);
    const DeviceTensor device_of_w(of_w, DataType::kFloat32);
    const DeviceTensor y(output, {rows, width});
    const Stream stream;
    const MatmulShape shape{kFloat8, output, rows, width, kColumns, width, scaled};
    MatmulScales scales;
    if (scaled) scales = {device_of_x.ref().as<float>(), device_of_w.ref().as<float>()};
    test_cublaslt()->matmul(shape, device_x.ref().data, device_w.ref().data, y.ref().data,
                            stream.get(), 0, scales);
    stream.synchronize();
    return y.fetch();
  }
  std::int64_t rows;
  std::int64_t width;
  Tensor x, w, x_scales, w_scales;
};

TEST(CudaFloat8, ScaledProductsAreSumsTimesScales) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  if (!test_features().scaled_missing.empty())
    GTEST_SKIP() << "NOT TESTED: " << test_features().scaled_missing;
  for (const std::int64_t rows : {1, 17, 64, 130})
    for (const std::int64_t width : {16, 80, 256}) {
      const Products p(rows, width);
      const Tensor sums = p.multiplied(DataType::kFloat32, false, p.x_scales, p.w_scales);
      Tensor filled(DataType::kFloat32, {width});
      std::fill_n(filled.mutable_as<float>(), width, 1.F);
      const Tensor& ones = filled;
      for (const DataType output : {DataType::kFloat32, DataType::kBFloat16})
        for (const Tensor* of_w : {&p.w_scales, &ones, &p.w_scales}) {  // one plan, several vectors
          const Tensor got = p.multiplied(output, true, p.x_scales, *of_w);
          // Sums in another order, of few bits each; then the rounding of the output.
          const float rounding = output == DataType::kBFloat16 ? 0x1p-8F : 0.F;
          for (std::int64_t i = 0; i < rows * width; ++i) {
            const float scale =
                p.x_scales.view().as<float>()[i / width] * of_w->view().as<float>()[i % width];
            const float want = sums.view().as<float>()[i] * scale;
            ASSERT_NEAR(got.view().as<float>()[i], want, std::fabs(want) * rounding + 4.F * scale)
                << rows << " x " << width << " " << to_string(output) << " " << i;
          }
        }
    }
}

TEST(CudaFloat8, ScaledProductsAreForHopperAlone) {
  TENON_NEEDS_GPU();
  if (!test_features().cublaslt) GTEST_SKIP() << "NOT TESTED: " << test_features().cublaslt_missing;
  for (const int capability : {80, 89, 100, 120})
    EXPECT_THAT(test_cublaslt()->scaled_missing(DataType::kBFloat16, capability),
                HasSubstr("compute capability 9.0"));
  EXPECT_EQ(
      test_cublaslt()->scaled_missing(DataType::kBFloat16, test_features().capability).empty(),
      test_features().scaled_to_bfloat16);
  // An algorithm that is proposed for sums is none for scaled products, and the other way round.
  MatmulShape shape{kFloat8, DataType::kFloat32, 32, 64, 256, 64};
  if (test_features().capability >= 89) {
    EXPECT_FALSE(test_cublaslt()->algorithms(shape, 1).empty());
  }
  shape.scaled = true;
  EXPECT_EQ(test_cublaslt()->algorithms(shape, 1).empty(), !test_features().scaled_to_float32);
}

// ---------------------------------------------------------------- rounding rows

// Rows of bfloat16 whose largest magnitude is each of these bits, the others at random below it.
Tensor rows_under(const std::vector<std::uint32_t>& largest, std::int64_t columns) {
  Tensor x(DataType::kFloat32, {static_cast<std::int64_t>(largest.size()), columns});
  std::uint32_t state = 3;
  auto* at = x.mutable_as<float>();
  for (const std::uint32_t top : largest)
    for (std::int64_t i = 0; i < columns; ++i) {
      state = state * 1664525U + 1013904223U;
      // Most are within the range of codes, some far below; zeros of both signs.
      const std::uint32_t below = (state >> 16) % (i % 7 == 0 ? top + 1 : std::min(top, 1800U) + 1);
      const std::uint32_t bits = (i == columns / 2 ? top : top - below) | (state & 1U) << 15;
      *at++ = std::bit_cast<float>(bits << 16);
    }
  return x;
}

// Byte of a packed row (linear_packed.h) that holds a column.
std::int64_t place_of(std::int64_t column) {
  const std::int64_t run = column % 64;
  return column / 64 * 64 + run % 32 / 8 * 16 + run / 32 * 8 + run % 8;
}

TEST(CudaFloat8, CodesAreThoseOfRoundedQuotients) {
  TENON_NEEDS_GPU();
  if (test_features().capability < 89) GTEST_SKIP() << "NOT TESTED: no fp8 products";
  std::vector<std::uint32_t> largest = {0,      1,      3,      0x7F,   0x80,
                                        0x0101, 0x0E00, 0x0EFF, 0x7EFF, 0x7F7F};
  for (std::uint32_t i = 0; i < 128; ++i) largest.push_back(0x3F80 + i);  // every fraction
  for (const std::int64_t columns : {64, 1096, 4096, 16392}) {
    if (columns > 4096) largest.resize(12);
    const Tensor x = rows_under(largest, columns);
    const auto rows = static_cast<std::int64_t>(largest.size());
    const std::int64_t row_bytes = (columns + 63) / 64 * 64;
    const DeviceTensor device_x(x, DataType::kBFloat16);
    const DeviceTensor codes(DataType::kUInt8, {rows, row_bytes});
    const DeviceTensor wide(DataType::kBFloat16, {rows, columns});
    const DeviceTensor scales(DataType::kFloat32, {rows, 1});
    const Stream stream;
    Float8Rows a{device_x.ref().data,     rows, columns, row_bytes, codes.ref().data,
                 scales.ref().as<float>()};
    launch_round_rows(a, test_features().capability >= 90, stream.get());
    a.row_bytes = 0;
    a.codes = wide.ref().data;
    launch_round_rows(a, false, stream.get());
    stream.synchronize();
    Tensor bytes(DataType::kUInt8, {rows, row_bytes});
    check(cudaMemcpy(bytes.mutable_data(), codes.ref().data, bytes.bytes(), cudaMemcpyDeviceToHost),
          "test");
    const Tensor numbers = wide.fetch();
    const Tensor got_scales = scales.fetch();
    for (std::int64_t row = 0; row < rows; ++row) {
      const float top = std::bit_cast<float>(largest[static_cast<std::size_t>(row)] << 16);
      const float scale = top / 448.F;
      ASSERT_EQ(got_scales.view().as<float>()[row], scale);
      const auto* const packed = bytes.view().as<std::uint8_t>() + row * row_bytes;
      for (std::int64_t i = 0; i < columns; ++i) {
        const float value = x.view().as<float>()[row * columns + i];
        const std::uint8_t want = float_to_fp8_e4m3(value / (scale == 0.F ? 1.F : scale));
        ASSERT_EQ(packed[place_of(i)], want) << columns << " " << top << " " << value;
        ASSERT_EQ(numbers.view().as<float>()[row * columns + i], fp8_e4m3_to_float(want));
      }
      for (std::int64_t i = columns; i < row_bytes; ++i) ASSERT_EQ(packed[place_of(i)], 0);
    }
  }
}

TEST(CudaFloat8, WhatIsNoNumberStaysWhereItIs) {
  TENON_NEEDS_GPU();
  if (test_features().capability < 89) GTEST_SKIP() << "NOT TESTED: no fp8 products";
  constexpr std::int64_t kColumns = 64;
  Tensor x(DataType::kFloat32, {2, kColumns});
  std::fill_n(x.mutable_as<float>(), 2 * kColumns, 1.F);
  x.mutable_as<float>()[5] = std::nanf("");
  x.mutable_as<float>()[kColumns + 6] = -INFINITY;
  const DeviceTensor device_x(x, DataType::kBFloat16);
  const DeviceTensor codes(DataType::kBFloat16, {2, kColumns});
  const DeviceTensor scales(DataType::kFloat32, {2, 1});
  const Stream stream;
  launch_round_rows(
      {device_x.ref().data, 2, kColumns, 0, codes.ref().data, scales.ref().as<float>()}, false,
      stream.get());
  stream.synchronize();
  const Tensor got = codes.fetch();
  const Tensor got_scales = scales.fetch();
  EXPECT_EQ(got_scales.view().as<float>()[0], 1.F / 448.F);
  EXPECT_EQ(got_scales.view().as<float>()[1], INFINITY);
  for (std::int64_t i = 0; i < 2 * kColumns; ++i) {
    const float code = got.view().as<float>()[i];
    if (i == 5 || i == kColumns + 6)
      EXPECT_TRUE(std::isnan(code));
    else
      EXPECT_EQ(code, i < kColumns ? 448.F : 0.F) << i;
  }
}

// ---------------------------------------------------------------- launches after

TEST(CudaFloat8, GatesOfEveryWidthAndType) {
  TENON_NEEDS_GPU();
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {8, 20, 30, 2056})  // eights, fours, ones, more than a block has
    for (const DataType type : {DataType::kBFloat16, DataType::kFloat16, DataType::kFloat32})
      for (const bool bias : {false, true}) {
        const Tensor both = rounded_to(random_tensor({kRows, 2 * width}, 1, 2.F), type);
        const DeviceTensor device_both(both, type);
        const DeviceTensor gate_bias(random_tensor({width}, 3), DataType::kFloat32);
        const DeviceTensor up_bias(random_tensor({width}, 4), DataType::kFloat32);
        const DeviceTensor y(type, {kRows, width});
        const Stream stream;
        launch_gate(ActivationKind::kSilu, device_both.ref().data, type,
                    bias ? gate_bias.ref().as<float>() : nullptr,
                    bias ? up_bias.ref().as<float>() : nullptr, y.ref().data, type, kRows, width,
                    stream.get());
        stream.synchronize();
        const Tensor got = y.fetch();
        const Tensor of_gate = gate_bias.fetch();
        const Tensor of_up = up_bias.fetch();
        for (std::int64_t i = 0; i < kRows * width; ++i) {
          const std::int64_t column = i % width;
          const auto* const row = both.view().as<float>() + i / width * 2 * width;
          const float gate = row[column] + (bias ? of_gate.view().as<float>()[column] : 0.F);
          const float up = row[width + column] + (bias ? of_up.view().as<float>()[column] : 0.F);
          const float want = gate / (1.F + std::exp(-gate)) * up;
          ASSERT_NEAR(got.view().as<float>()[i], want,
                      std::fabs(want) * (rounding_of(type) + 1e-6F) + 1e-6F)
              << width << " " << to_string(type) << " " << i;
        }
      }
}

TEST(CudaFloat8, BiasesOfEveryWidthAndPlace) {
  TENON_NEEDS_GPU();
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {8, 30, 1028})
    for (const std::int64_t skipped : {0, 1, 4})  // a part of a joined vector begins anywhere
      for (const DataType type : {DataType::kBFloat16, DataType::kFloat32}) {
        const Tensor before = rounded_to(random_tensor({kRows, width}, 1), type);
        const Tensor bias = random_tensor({skipped + width}, 2);
        const DeviceTensor y(before, type);
        const DeviceTensor device_bias(bias, DataType::kFloat32);
        const Stream stream;
        launch_add_bias(y.ref().data, type, device_bias.ref().as<float>() + skipped, kRows, width,
                        stream.get());
        stream.synchronize();
        const Tensor got = y.fetch();
        for (std::int64_t i = 0; i < kRows * width; ++i) {
          const float want =
              before.view().as<float>()[i] + bias.view().as<float>()[skipped + i % width];
          ASSERT_NEAR(got.view().as<float>()[i], want, std::fabs(want) * rounding_of(type) + 1e-6F);
        }
      }
}

}  // namespace
}  // namespace tenon::cuda
