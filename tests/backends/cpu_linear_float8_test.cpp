// Linears on the CPU whose inputs are rounded to float8_e4m3: every kernel against the formula,
// with the nearest number found by trying all of them.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/float8_rows.h"
#include "cpu_linear_support.h"

namespace tenon::cpu {
namespace {

/// Every finite number of the type, by its formula (bias 7, three bits of fraction), with whether
/// its last bit is 0.
struct Number {
  double value;
  bool even;
};
std::vector<Number> all_numbers() {
  std::vector<Number> numbers;
  for (int exponent = 0; exponent < 16; ++exponent)
    for (int fraction = 0; fraction < 8; ++fraction) {
      if (exponent == 15 && fraction == 7) continue;
      const double value =
          exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
      numbers.push_back({value, fraction % 2 == 0});
    }
  return numbers;
}

double nearest(double value) {
  static const std::vector<Number> numbers = all_numbers();
  const Number* best = &numbers[0];
  for (const Number& number : numbers) {
    const double mine = std::fabs(number.value - std::fabs(value));
    const double least = std::fabs(best->value - std::fabs(value));
    if (mine < least || (mine == least && number.even)) best = &number;
  }
  return std::copysign(best->value, value);
}

TEST(Float8Rows, EveryNumberAndEveryMiddle) {
  const std::vector<Number> numbers = all_numbers();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto value = static_cast<float>(numbers[i].value);
    EXPECT_EQ(round_to_float8(value), value);
    EXPECT_EQ(round_to_float8(-value), -value);
    if (i + 1 == numbers.size()) break;
    const auto middle = static_cast<float>((numbers[i].value + numbers[i + 1].value) / 2);
    for (const float x : {middle, std::nextafter(middle, 0.0F), std::nextafter(middle, 1e9F)}) {
      EXPECT_EQ(round_to_float8(x), static_cast<float>(nearest(x))) << x;
      EXPECT_EQ(round_to_float8(-x), -round_to_float8(x)) << x;
      EXPECT_EQ(round_to_float8(x), fp8_e4m3_to_float(float_to_fp8_e4m3(x))) << x;
    }
  }
}

TEST(Float8Rows, ZerosAndWhatIsNoNumber) {
  const std::vector<float> zeros(5);
  std::vector<float> codes(5, 1.0F);
  EXPECT_EQ(round_row_to_float8(zeros.data(), 5, codes.data()), 0.0F);
  EXPECT_EQ(codes, zeros);
  std::vector<float> row = {1.0F, std::nanf(""), 2.0F};
  round_row_to_float8(row.data(), 3, codes.data());
  EXPECT_TRUE(std::isnan(codes[1]));
  row[1] = INFINITY;
  EXPECT_TRUE(std::isinf(round_row_to_float8(row.data(), 3, codes.data())));
  EXPECT_TRUE(std::isnan(codes[1]));
}

/// y = row_scale * sum of code * weight, in double.
std::vector<double> expected_outputs(const QuantizedTensor& weight, const std::vector<float>& x,
                                     std::int64_t rows) {
  const std::int64_t columns = weight.columns();
  std::vector<double> out;
  std::vector<float> w(static_cast<std::size_t>(columns));
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* in = x.data() + row * columns;
    float largest = 0.0F;
    for (std::int64_t k = 0; k < columns; ++k) largest = std::max(largest, std::fabs(in[k]));
    const float scale = largest / 448.0F;
    std::vector<double> codes;
    for (std::int64_t k = 0; k < columns; ++k) codes.push_back(nearest(in[k] / scale));
    for (std::int64_t n = 0; n < weight.rows(); ++n) {
      dequantize_row(weight, n, 0, columns, w.data());
      double sum = 0.0;
      for (std::int64_t k = 0; k < columns; ++k)
        sum += codes[static_cast<std::size_t>(k)] * w[static_cast<std::size_t>(k)];
      out.push_back(sum * scale);
    }
  }
  return out;
}

template <class OpT>
std::vector<const KernelEntry<OpT>*> float8_entries() {
  std::vector<const KernelEntry<OpT>*> found;
  for (const KernelEntry<OpT>& entry : kernels(static_cast<const OpT*>(nullptr)))
    if (entry.activation == DataType::kFloat8E4M3) found.push_back(&entry);
  return found;
}

class CpuLinearFloat8 : public testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{{.threads = 3, .pin = false}};
};

TEST_P(CpuLinearFloat8, AgreesWithTheFormula) {
  const KernelEntry<Linear>& entry =
      *float8_entries<Linear>()[static_cast<std::size_t>(GetParam())];
  for (const char* form : {"float8_e4m3", "float8_e4m3 group row scale float32"})
    for (const std::int64_t columns : {7, 96, 515}) {
      RandomWeights random(5);
      const std::vector<QuantizedTensor> weights = {random.weight(spec_of(form), 37, columns)};
      const NodeView node = linear_node(weights, 1);
      if (const std::string why = entry.reject({}, node, CpuFeatures::detect()); !why.empty())
        GTEST_SKIP() << entry.name << " " << why;
      const KernelUnderTest<Linear> kernel(entry, {}, node, weights, pool_);
      for (const std::int64_t rows : {0, 1, 3, 5, 40}) {
        const std::vector<float> x = random.floats(rows * columns);
        const std::vector<float> got = kernel.run(x, rows)[0];
        const std::vector<double> expected = expected_outputs(weights[0], x, rows);
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t i = 0; i < got.size(); ++i) {
          const auto row = static_cast<std::int64_t>(i) / 37;
          const float limit = tolerance(weights[0], static_cast<std::int64_t>(i) % 37,
                                        x.data() + row * columns, DataType::kFloat32);
          ASSERT_NEAR(got[i], expected[i], limit) << entry.name << " " << form << " " << i;
        }
      }
    }
}

TEST_P(CpuLinearFloat8, SegmentsAndBias) {
  const KernelEntry<Linear>& entry =
      *float8_entries<Linear>()[static_cast<std::size_t>(GetParam())];
  RandomWeights random(6);
  std::vector<QuantizedTensor> weights = {
      random.weight(spec_of("float8_e4m3 group row scale float32"), 33, 128),
      random.weight(spec_of("float8_e4m3"), 18, 128)};
  for (const std::int64_t outputs : {33, 18}) {
    Tensor bias(DataType::kFloat32, {outputs});
    for (std::int64_t i = 0; i < outputs; ++i) bias.mutable_as<float>()[i] = random.normal();
    weights.push_back(QuantizedTensor::from(std::move(bias)));
  }
  const Linear op{.segments = 2, .has_bias = true};
  const NodeView node = linear_node(weights, 2);
  if (const std::string why = entry.reject(op, node, CpuFeatures::detect()); !why.empty())
    GTEST_SKIP() << entry.name << " " << why;
  const KernelUnderTest<Linear> kernel(entry, op, node, weights, pool_);
  for (const std::int64_t rows : {1, 20}) {
    const std::vector<float> x = random.floats(rows * 128);
    const auto got = kernel.run(x, rows);
    for (std::size_t s = 0; s < 2; ++s) {
      const std::vector<double> expected = expected_outputs(weights[s], x, rows);
      const std::int64_t outputs = weights[s].rows();
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const auto n = static_cast<std::int64_t>(i) % outputs;
        const float* row = x.data() + static_cast<std::int64_t>(i) / outputs * 128;
        ASSERT_NEAR(got[s][i], expected[i] + weights[2 + s].codes.view().as<float>()[n],
                    tolerance(weights[s], n, row, DataType::kFloat32) + 1e-6F)
            << entry.name << " segment " << s;
      }
    }
  }
}

TEST_P(CpuLinearFloat8, Gated) {
  const KernelEntry<GatedLinear>& entry =
      *float8_entries<GatedLinear>()[static_cast<std::size_t>(GetParam())];
  RandomWeights random(8);
  const QuantSpec spec = spec_of("float8_e4m3 group row scale float32");
  const std::vector<QuantizedTensor> weights = {random.weight(spec, 35, 96),
                                                random.weight(spec, 35, 96)};
  const GatedLinear op{.kind = ActivationKind::kRelu};
  const NodeView node = linear_node(weights, 1);
  if (const std::string why = entry.reject(op, node, CpuFeatures::detect()); !why.empty())
    GTEST_SKIP() << entry.name << " " << why;
  const KernelUnderTest<GatedLinear> kernel(entry, op, node, weights, pool_);
  for (const std::int64_t rows : {1, 19}) {
    const std::vector<float> x = random.floats(rows * 96);
    const std::vector<float> got = kernel.run(x, rows)[0];
    const std::vector<double> gate = expected_outputs(weights[0], x, rows);
    const std::vector<double> up = expected_outputs(weights[1], x, rows);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], std::max(0.0, gate[i]) * up[i],
                  1e-5 * (std::fabs(gate[i]) + 1.0) * (std::fabs(up[i]) + 1.0))
          << entry.name << " " << i;
  }
}

TEST_P(CpuLinearFloat8, RowDependsOnItselfAlone) {
  const KernelEntry<Linear>& entry =
      *float8_entries<Linear>()[static_cast<std::size_t>(GetParam())];
  RandomWeights random(7);
  const std::vector<QuantizedTensor> weights = {
      random.weight(spec_of("float8_e4m3 group row scale float32"), 50, 200)};
  const NodeView node = linear_node(weights, 1);
  const std::string why = entry.reject({}, node, CpuFeatures::detect());
  if (!why.empty() || !entry.row_invariant) GTEST_SKIP() << entry.name << " " << why;
  const KernelUnderTest<Linear> kernel(entry, {}, node, weights, pool_);
  const std::vector<float> x = random.floats(90 * 200);
  const std::vector<float> many = kernel.run(x, 90)[0];
  for (const std::int64_t rows : {1, 4, 33}) {
    const std::vector<float> part(x.begin() + 5 * 200, x.begin() + (5 + rows) * 200);
    const std::vector<float> few = kernel.run(part, rows)[0];
    ASSERT_EQ(std::memcmp(few.data(), many.data() + 5 * 50, few.size() * sizeof(float)), 0);
  }
}

TEST_P(CpuLinearFloat8, OtherWeightsAreRefusedByName) {
  const KernelEntry<Linear>& entry =
      *float8_entries<Linear>()[static_cast<std::size_t>(GetParam())];
  for (const char* form : {"float32", "bfloat16", "float8_e5m2 group row scale float16",
                           "int8 group row scale float32", "float8_e4m3 group 128 scale float32"}) {
    RandomWeights random(7);
    const std::vector<QuantizedTensor> weights = {random.weight(spec_of(form), 16, 256)};
    const std::string why = entry.reject({}, linear_node(weights, 1), CpuFeatures::detect());
    EXPECT_NE(why.find(std::string("w0 is ") + form), std::string::npos) << why;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, CpuLinearFloat8, testing::Range(0, static_cast<int>(float8_entries<Linear>().size())),
    [](const auto& info) {
      return std::string(float8_entries<Linear>()[static_cast<std::size_t>(info.param)]->name);
    });

}  // namespace
}  // namespace tenon::cpu
