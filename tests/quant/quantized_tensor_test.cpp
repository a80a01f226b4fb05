// slice, concatenate, validate: every cut dequantizes as the whole does.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quantized_tensor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "quant/formats/gguf_blocks.h"
#include "quant/formats/weight_only.h"
#include "tenon/error.h"

namespace tenon {
namespace {

constexpr GgufTensorType kTypes[] = {
    GgufTensorType::kF16,  GgufTensorType::kQ4_0, GgufTensorType::kQ4_1, GgufTensorType::kQ5_0,
    GgufTensorType::kQ5_1, GgufTensorType::kQ8_0, GgufTensorType::kQ2_K, GgufTensorType::kQ3_K,
    GgufTensorType::kQ4_K, GgufTensorType::kQ5_K, GgufTensorType::kQ6_K, GgufTensorType::kIQ4_NL};

/// Random blocks whose fp16 fields are kept finite, so that values compare equal.
QuantizedTensor random_tensor(GgufTensorType type, Shape shape) {
  std::mt19937 random(static_cast<unsigned>(type));
  QuantizedTensor tensor = QuantizedTensor::empty(gguf_quant_spec(type), std::move(shape), "t");
  for (Tensor* part : {&tensor.codes, &tensor.scale, &tensor.sub_scale, &tensor.minimum,
                       &tensor.sub_minimum, &tensor.codebook}) {
    if (part->data() == nullptr) continue;
    auto* bytes = part->mutable_as<std::uint8_t>();
    for (std::size_t i = 0; i < part->bytes(); ++i) bytes[i] = static_cast<std::uint8_t>(random());
    if (part->dtype() == DataType::kFloat16)
      for (std::size_t i = 1; i < part->bytes(); i += 2) bytes[i] &= 0xBBU;
  }
  return tensor;
}

void expect_rectangle(const QuantizedTensor& part, const Tensor& whole, Range rows, Range columns,
                      const std::string& what) {
  validate(part, what);
  ASSERT_EQ(part.rows(), rows.size()) << what;
  ASSERT_EQ(part.columns(), columns.size()) << what;
  const Tensor got = dequantize(part);
  const std::int64_t all = whole.shape().back();
  for (std::int64_t row = 0; row < rows.size(); ++row)
    ASSERT_EQ(std::memcmp(got.view().as<float>() + row * columns.size(),
                          whole.view().as<float>() + (rows.begin + row) * all + columns.begin,
                          static_cast<std::size_t>(columns.size()) * sizeof(float)),
              0)
        << what << " row " << row;
}

TEST(QuantizedTensor, EveryCutAndJoin) {
  for (const auto type : kTypes) {
    const QuantizedTensor tensor = random_tensor(type, {4, 512});
    const Tensor whole = dequantize(tensor);
    const std::string what = to_string(tensor.spec);
    const std::int64_t unit = std::max<std::int64_t>(tensor.spec.column_unit(), 16);
    for (std::int64_t a = 0; a <= 512; a += unit) {
      for (std::int64_t b = a; b <= 512; b += 3 * unit) {
        const QuantizedTensor part = slice(tensor, {1, 3}, {a, b});
        expect_rectangle(part, whole, {1, 3}, {a, b}, what);
        // A cut of the cut.
        if (b - a < 2 * unit) continue;
        expect_rectangle(slice(part, {1, 2}, {unit, b - a}), whole, {2, 3}, {a + unit, b}, what);
      }
      const QuantizedTensor halves[] = {slice(tensor, {0, 4}, {0, a}),
                                        slice(tensor, {0, 4}, {a, 512})};
      expect_rectangle(concatenate(halves, 1, what), whole, {0, 4}, {0, 512}, what);
    }
    const QuantizedTensor rows[] = {slice(tensor, {0, 1}, {0, 512}),
                                    slice(tensor, {1, 4}, {0, 512})};
    EXPECT_EQ(rows[1].codes.data(),
              tensor.codes.data() + tensor.spec.code_bytes(512));  // a view, no copy
    expect_rectangle(concatenate(rows, 0, what), whole, {0, 4}, {0, 512}, what);
  }
}

TEST(QuantizedTensor, RowsMayStartAnywhere) {
  const QuantizedTensor tensor = random_tensor(GgufTensorType::kQ3_K, {2, 256});
  const Tensor whole = dequantize(tensor);
  std::vector<float> got(256);
  for (std::int64_t begin = 0; begin < 256; begin += 7) {
    dequantize_row(tensor, 1, begin, 256, got.data());
    EXPECT_EQ(std::memcmp(got.data(), whole.view().as<float>() + 256 + begin,
                          static_cast<std::size_t>(256 - begin) * sizeof(float)),
              0);
  }
}

TEST(QuantizedTensor, PerRowScales) {
  Tensor weight(DataType::kFloat32, {3, 40});
  for (int i = 0; i < 120; ++i) weight.mutable_as<float>()[i] = static_cast<float>(i % 17) - 8.0F;
  const QuantizedTensor tensor = quantize_weight_only(weight.view(), {4, 0}, "w");
  const Tensor whole = dequantize(tensor);
  const QuantizedTensor parts[] = {slice(tensor, {0, 3}, {0, 14}), slice(tensor, {0, 3}, {14, 40})};
  expect_rectangle(concatenate(parts, 1, "w"), whole, {0, 3}, {0, 40}, "int4 per row");
  EXPECT_THROW(slice(tensor, {0, 3}, {0, 13}), Error);
}

TEST(QuantizedTensor, ScaledFloats) {
  QuantizedTensor tensor =
      QuantizedTensor::empty(QuantSpec::scaled_float(DataType::kFloat8E4M3), {3, 20}, "w");
  auto* codes = tensor.codes.mutable_as<std::uint8_t>();
  for (int i = 0; i < 60; ++i) codes[i] = static_cast<std::uint8_t>(i * 2);
  codes[1] = 0xC8;  // -(1 + 0) * 2^(9 - 7) = -4
  for (int i = 0; i < 3; ++i) tensor.scale.mutable_as<float>()[i] = 0.25F + static_cast<float>(i);
  validate(tensor, "w");
  EXPECT_EQ(tensor.bytes(), static_cast<std::size_t>(tensor.spec.bytes(3, 20)));
  const Tensor whole = dequantize(tensor);
  EXPECT_EQ(whole.view().as<float>()[1], -1.0F);
  EXPECT_EQ(whole.view().as<float>()[28], 1.25F);  // code 0x38 is 1
  const QuantizedTensor columns[] = {slice(tensor, {0, 3}, {0, 7}), slice(tensor, {0, 3}, {7, 20})};
  expect_rectangle(columns[1], whole, {0, 3}, {7, 20}, "fp8");
  expect_rectangle(concatenate(columns, 1, "w"), whole, {0, 3}, {0, 20}, "fp8");
  const QuantizedTensor rows[] = {slice(tensor, {0, 2}, {0, 20}), slice(tensor, {2, 3}, {0, 20})};
  expect_rectangle(concatenate(rows, 0, "w"), whole, {0, 3}, {0, 20}, "fp8");
  tensor.scale = Tensor(DataType::kFloat32, {1, 1});  // one for all is stored once a row
  EXPECT_THROW(validate(tensor, "w"), Error);
}

TEST(QuantizedTensor, VectorsAndDeepShapes) {
  const QuantizedTensor bias = random_tensor(GgufTensorType::kF16, {10});
  const QuantizedTensor part = slice(bias, {0, 1}, {4, 10});
  EXPECT_EQ(part.shape, Shape{6});
  const QuantizedTensor parts[] = {slice(bias, {0, 1}, {0, 4}), part};
  EXPECT_EQ(concatenate(parts, 0, "bias").shape, Shape{10});
  const QuantizedTensor experts = random_tensor(GgufTensorType::kQ4_K, {3, 2, 256});
  EXPECT_EQ(experts.rows(), 6);
  EXPECT_EQ(slice(experts, {2, 4}, {0, 256}).shape, (Shape{2, 256}));
  EXPECT_EQ(slice(experts, {0, 6}, {0, 64}).shape, (Shape{3, 2, 64}));
}

TEST(QuantizedTensor, RefusesBadCutsAndParts) {
  const QuantizedTensor tensor = random_tensor(GgufTensorType::kQ4_0, {4, 64});
  EXPECT_THROW(slice(tensor, {0, 4}, {0, 16}), Error);
  EXPECT_THROW(slice(tensor, {0, 5}, {0, 32}), Error);
  EXPECT_THROW(slice(tensor, {3, 2}, {0, 32}), Error);
  EXPECT_THROW(QuantizedTensor::empty(tensor.spec, {4, 40}, "t"), Error);
  const QuantizedTensor other = random_tensor(GgufTensorType::kQ4_1, {4, 64});
  const QuantizedTensor mixed[] = {tensor, other};
  EXPECT_THROW(concatenate(mixed, 0, "t"), Error);
  const QuantizedTensor narrow = random_tensor(GgufTensorType::kQ4_0, {4, 32});
  const QuantizedTensor ragged[] = {tensor, narrow};
  EXPECT_THROW(concatenate(ragged, 0, "t"), Error);
  QuantizedTensor broken = tensor;
  broken.scale = Tensor(DataType::kFloat16, {4, 3});
  EXPECT_THROW(validate(broken, "t"), Error);
  broken = tensor;
  broken.minimum = Tensor(DataType::kFloat16, {4, 2});
  EXPECT_THROW(validate(broken, "t"), Error);
  broken = tensor;
  broken.shape = {4, 1 << 20};
  EXPECT_THROW(validate(broken, "t"), Error);
}

TEST(QuantizedTensor, PhasesMustMeet) {
  const QuantizedTensor tensor = random_tensor(GgufTensorType::kQ6_K, {2, 512});
  const QuantizedTensor wrong[] = {slice(tensor, {0, 2}, {0, 16}),
                                   slice(tensor, {0, 2}, {32, 512})};
  EXPECT_THROW(concatenate(wrong, 1, "t"), Error);
  // The same phase, but another super-block's scale.
  const QuantizedTensor strangers[] = {slice(tensor, {0, 2}, {0, 16}),
                                       slice(tensor, {0, 2}, {272, 512})};
  EXPECT_THROW(concatenate(strangers, 1, "t"), Error);
}

}  // namespace
}  // namespace tenon
