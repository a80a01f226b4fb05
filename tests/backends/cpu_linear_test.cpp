// Linear on the CPU: every kernel of the list against the reference, for every form of weight.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/linear/packed_weight.h"
#include "backends/cpu/ref/reference.h"
#include "cpu_linear_support.h"

namespace tenon::cpu {
namespace {

std::span<const KernelEntry<Linear>> entries() { return kernels_of_any_weight<Linear>(); }

class CpuLinear : public testing::TestWithParam<int> {
 protected:
  const KernelEntry<Linear>& entry() const {
    return entries()[static_cast<std::size_t>(GetParam())];
  }

  /// Skips, loudly, where this machine lacks what the kernel needs.
  std::string why_not() const {
    const QuantizedTensor w = RandomWeights(1).weight(spec_of("float32"), 16, 16);
    return entry().reject({}, linear_node({w}, 1), CpuFeatures::detect());
  }

  ThreadPool pool_{{.threads = 3, .pin = false}};
};

#define SKIP_WITHOUT_ISA()                                   \
  if (const std::string reason = why_not(); !reason.empty()) \
  GTEST_SKIP() << entry().name << " " << reason

/// Compares one segment's rows with the reference's.
void expect_close(const std::vector<float>& got, const std::vector<float>& expected,
                  const QuantizedTensor& weight, const std::vector<float>& x, std::int64_t rows,
                  DataType activation, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  const std::int64_t columns = weight.columns();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t n = 0; n < weight.rows(); ++n) {
      const auto i = static_cast<std::size_t>(r * weight.rows() + n);
      const float limit = tolerance(weight, n, x.data() + r * columns, activation);
      ASSERT_NEAR(got[i], expected[i], limit) << what << " row " << r << " output " << n;
    }
}

void check_form(const KernelEntry<Linear>& entry, const std::string& form, std::int64_t outputs,
                std::int64_t wanted_columns, ThreadPool& pool) {
  const QuantSpec spec = spec_of(form);
  const std::int64_t columns = columns_for(spec, wanted_columns);
  RandomWeights random(static_cast<unsigned>(outputs * 1000 + columns));
  const std::vector<QuantizedTensor> weights = {random.weight(spec, outputs, columns)};
  const NodeView node = linear_node(weights, 1);
  const KernelUnderTest<Linear> kernel(entry, {}, node, weights, pool);
  const KernelUnderTest<Linear> reference(entries().back(), {}, node, weights, pool);
  for (const std::int64_t rows : {0, 1, 2, 3, 4, 5, 12, 17, 64, 130}) {
    const std::vector<float> x = random.floats(rows * columns);
    const std::string what = std::string(entry.name) + " " + form + " [" + std::to_string(outputs) +
                             ", " + std::to_string(columns) + "] x " + std::to_string(rows);
    expect_close(kernel.run(x, rows)[0], reference.run(x, rows)[0], weights[0], x, rows,
                 entry.activation, what);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(CpuLinear, AgreesWithTheReferenceForEveryForm) {
  SKIP_WITHOUT_ISA();
  for (const std::string& form : weight_forms()) {
    check_form(entry(), form, 37, 288, pool_);
    check_form(entry(), form, 150, 160, pool_);
    check_form(entry(), form, 16, 1100, pool_);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CpuLinear, TakesOddWidths) {
  SKIP_WITHOUT_ISA();
  for (const char* form :
       {"float32", "float16", "bfloat16", "int8 group row scale float32",
        "int4 group row scale float16 offset 8", "int4 group row scale float16 minimum"})
    for (const std::int64_t columns : {1, 7, 33, 63, 65, 257})
      for (const std::int64_t outputs : {1, 15, 17}) {
        check_form(entry(), form, outputs, columns, pool_);
        if (HasFatalFailure()) return;
      }
}

TEST_P(CpuLinear, RowDependsOnItselfAlone) {
  SKIP_WITHOUT_ISA();
  if (!entry().row_invariant) GTEST_SKIP() << entry().name << " does not claim it";
  for (const std::string& form : weight_forms()) {
    const QuantSpec spec = spec_of(form);
    const std::int64_t columns = columns_for(spec, 640);
    RandomWeights random(7);
    const std::vector<QuantizedTensor> weights = {random.weight(spec, 203, columns)};
    const KernelUnderTest<Linear> kernel(entry(), {}, linear_node(weights, 1), weights, pool_);
    const std::vector<float> x = random.floats(600 * columns);
    const std::vector<float> many = kernel.run(x, 600)[0];
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 9, 64}) {
      const std::vector<float> part(x.begin() + 5 * columns, x.begin() + (5 + rows) * columns);
      const std::vector<float> few = kernel.run(part, rows)[0];
      ASSERT_EQ(std::memcmp(few.data(), many.data() + 5 * 203, few.size() * sizeof(float)), 0)
          << entry().name << " " << form << " rows " << rows;
    }
  }
}

TEST_P(CpuLinear, ServesSegmentsOfDifferentFormsWithBias) {
  SKIP_WITHOUT_ISA();
  const char* forms[] = {"int4 group 32 scale float16 minimum super 256 sub 8",
                         "int6 group 16 scale float16 offset 32 super 256 sub 8 signed", "bfloat16",
                         "float8_e4m3 group row scale float32"};
  const std::int64_t outputs[] = {100, 33, 18, 40};
  RandomWeights random(3);
  std::vector<QuantizedTensor> weights;
  for (int i = 0; i < 4; ++i) weights.push_back(random.weight(spec_of(forms[i]), outputs[i], 320));
  for (int i = 0; i < 4; ++i) {
    QuantizedTensor bias = random.weight(spec_of(i == 1 ? "float16" : "float32"), 1, outputs[i]);
    bias.shape = {outputs[i]};
    bias.codes = Tensor({bias.codes.data(), bias.codes.dtype(), {outputs[i]}},
                        std::make_shared<Tensor>(bias.codes));
    weights.push_back(bias);
  }
  const Linear op{.segments = 4, .has_bias = true};
  const NodeView node = linear_node(weights, 4);
  const KernelUnderTest<Linear> kernel(entry(), op, node, weights, pool_);
  const KernelUnderTest<Linear> reference(entries().back(), op, node, weights, pool_);
  for (const std::int64_t rows : {1, 4, 6, 130, 300}) {
    const std::vector<float> x = random.floats(rows * 320);
    const auto got = kernel.run(x, rows);
    const auto expected = reference.run(x, rows);
    for (std::size_t i = 0; i < 4; ++i)
      expect_close(got[i], expected[i], weights[i], x, rows, entry().activation,
                   std::string(entry().name) + " segment " + std::to_string(i));
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, CpuLinear, testing::Range(0, static_cast<int>(entries().size())),
                         [](const auto& info) {
                           return std::string(entries()[static_cast<std::size_t>(info.param)].name);
                         });

TEST(CpuLinearList, EndsWithTheReferenceAndRejectsWithAReason) {
  EXPECT_STREQ(entries().back().name, "linear_ref");
  const QuantizedTensor w = RandomWeights(1).weight(spec_of("float32"), 16, 16);
  const NodeView node = linear_node({w}, 1);
  const CpuFeatures baseline = CpuFeatures::detect("baseline");
  for (const KernelEntry<Linear>& entry : entries()) {
    const std::string reason = entry.reject({}, node, baseline);
    const bool any = std::string_view(entry.name) == "linear_baseline" ||
                     std::string_view(entry.name) == "linear_ref";
    EXPECT_EQ(reason.empty(), any) << entry.name << ": " << reason;
    EXPECT_EQ(reason.find("needs ") == 0, !any) << reason;
  }
}

TEST(PackedWeight, CostsWhatTheTableInTheDocsSays) {
  const auto bits = [](const char* form) {
    return 8.0 * static_cast<double>(panel_matrix_bytes(plan_panels(spec_of(form), 4096, 4096))) /
           (4096.0 * 4096.0);
  };
  EXPECT_DOUBLE_EQ(bits("bfloat16"), 16.0);
  EXPECT_DOUBLE_EQ(bits("int8 group 32 scale float16"), 8.5);
  EXPECT_DOUBLE_EQ(bits("int4 group 32 scale float16 offset 8"), 4.5);
  EXPECT_DOUBLE_EQ(bits("int4 group 32 scale float16 minimum super 256 sub 8"), 4.625);
  EXPECT_DOUBLE_EQ(bits("int6 group 16 scale float16 offset 32 super 256 sub 8 signed"), 8.5625);
  EXPECT_DOUBLE_EQ(bits("int2 group 16 scale float16 minimum super 256 sub 4"), 5.125);
}

TEST(CpuEmbedding, GathersRowsOfItsShard) {
  ThreadPool pool({.threads = 2, .pin = false});
  const QuantizedTensor table =
      RandomWeights(5).weight(spec_of("int4 group 32 scale float16 offset 8"), 20, 64);
  const std::int64_t begin = 100;
  NodeView node;
  node.inputs = {ValueType::tensor(DataType::kInt32, {Dim(Symbol::kTokens)})};
  node.outputs = {ValueType::tensor(DataType::kFloat32, {Dim(Symbol::kTokens), Dim(64)})};
  node.weights = {use_of(table, "table")};
  const auto list = kernels(static_cast<const Embedding*>(nullptr));
  const auto kernel = list[0].make({.row_begin = begin}, node, {table}, pool);
  EXPECT_EQ(kernel->packed_bytes(), 0);
  std::vector<std::int32_t> ids = {100, 119, 120, 99, -1, 107, 2147483647};
  std::vector<float> out(ids.size() * 64, -1.0F);
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const TensorRef in{reinterpret_cast<std::byte*>(ids.data()), DataType::kInt32, 1, tokens};
  const TensorRef result{reinterpret_cast<std::byte*>(out.data()), DataType::kFloat32, tokens, 64};
  const Batch batch;
  StepContext step{pool, batch};
  kernel->run({&in, 1}, {&result, 1}, step);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    std::vector<float> expected(64, 0.0F);
    if (ids[t] >= begin && ids[t] < begin + 20)
      dequantize_row(table, ids[t] - begin, 0, 64, expected.data());
    EXPECT_EQ(std::memcmp(expected.data(), out.data() + t * 64, 64 * sizeof(float)), 0) << t;
  }
}

}  // namespace
}  // namespace tenon::cpu
