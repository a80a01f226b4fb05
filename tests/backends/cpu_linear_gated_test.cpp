// GatedLinear on the CPU: every kernel and activation against the reference.
// SPDX-License-Identifier: Apache-2.0
#include "cpu_linear_support.h"

namespace tenon::cpu {
namespace {

std::span<const KernelEntry<GatedLinear>> entries() { return kernels_of_any_weight<GatedLinear>(); }

class CpuGatedLinear : public testing::TestWithParam<int> {};

TEST_P(CpuGatedLinear, AgreesWithTheReferenceForEveryActivation) {
  const KernelEntry<GatedLinear>& entry = entries()[static_cast<std::size_t>(GetParam())];
  ThreadPool pool({.threads = 3, .pin = false});
  RandomWeights random(11);
  const std::int64_t columns = 192;
  for (const bool mixed : {false, true})
    for (const std::int64_t outputs : {35, 100}) {
      const std::vector<QuantizedTensor> weights = {
          random.weight(spec_of("int4 group 32 scale float16 minimum"), outputs, columns),
          random.weight(spec_of(mixed ? "float16" : "int4 group 32 scale float16 minimum"), outputs,
                        columns)};
      const NodeView node = linear_node(weights, 1);
      if (const std::string reason = entry.reject({}, node, CpuFeatures::detect()); !reason.empty())
        GTEST_SKIP() << entry.name << " " << reason;
      for (std::size_t k = 0; k < std::size(kActivationKindNames); ++k) {
        const GatedLinear op{.kind = static_cast<ActivationKind>(k)};
        const KernelUnderTest<GatedLinear> kernel(entry, op, node, weights, pool);
        const KernelUnderTest<GatedLinear> reference(entries().back(), op, node, weights, pool);
        for (const std::int64_t rows : {1, 4, 5, 70}) {
          const std::vector<float> x = random.floats(rows * columns);
          const std::vector<float> got = kernel.run(x, rows)[0];
          const std::vector<float> expected = reference.run(x, rows)[0];
          for (std::int64_t i = 0; i < rows * outputs; ++i) {
            const float* row = x.data() + i / outputs * columns;
            const auto at = static_cast<std::size_t>(i);
            const float gate = tolerance(weights[0], i % outputs, row, entry.activation);
            const float up = tolerance(weights[1], i % outputs, row, entry.activation);
            // Either factor's error is multiplied by the other, of the order of 100 tolerances.
            const float magnitude = entry.activation == DataType::kFloat32 ? 2e5F : 5e2F;
            ASSERT_NEAR(got[at], expected[at],
                        gate * up * magnitude + 3e-6F * std::abs(expected[at]) + 1e-6F)
                << entry.name << " " << kActivationKindNames[k] << " rows " << rows << " at " << i;
          }
        }
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Kernels, CpuGatedLinear,
                         testing::Range(0, static_cast<int>(entries().size())),
                         [](const auto& info) {
                           return std::string(entries()[static_cast<std::size_t>(info.param)].name);
                         });

}  // namespace
}  // namespace tenon::cpu
