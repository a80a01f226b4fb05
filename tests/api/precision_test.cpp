// The line that says the precision.
// SPDX-License-Identifier: Apache-2.0
#include "api/precision.h"

#include <gtest/gtest.h>

namespace tenon {
namespace {

const char* const kQ41 = "int4 group 32 scale float16 minimum, int8 group 32 scale float16";

TEST(PrecisionLine, HasAFigureWhereThatWasMeasured) {
  EXPECT_EQ(
      describe(Precision{kQ41, DataType::kFloat32, DataType::kFloat32}),
      "precision: weights as stored (int4 group 32 scale float16 minimum, int8 group 32 scale "
      "float16), activations float32 exact, cache float32; mean KL 4.9e-10 to transformers "
      "fp32 on SmolLM2-135M-Instruct (docs/running.md)");
  EXPECT_NE(describe(Precision{kQ41, DataType::kBFloat16, DataType::kBFloat16}).find("1.3e-4"),
            std::string::npos);
}

TEST(PrecisionLine, HasNoFigureElsewhere) {
  for (const Precision& other : {Precision{"bfloat16", DataType::kFloat32, DataType::kFloat32},
                                 Precision{kQ41, DataType::kFloat16, DataType::kFloat32},
                                 Precision{kQ41, DataType::kFloat32, DataType::kFloat64}}) {
    const std::string line = describe(other);
    EXPECT_EQ(line.find("KL"), line.npos) << line;
    EXPECT_NE(line.find("not measured; tenon eval measures it"), line.npos) << line;
  }
}

class Weights : public WeightSource {
 public:
  const std::vector<WeightInfo>& weights() const override { return infos_; }
  QuantizedTensor load(std::string_view, const Cut&) const override { return {}; }

 private:
  std::vector<WeightInfo> infos_ = {{"norm", {1000}, QuantSpec::floating(DataType::kFloat32)},
                                    {"a", {4, 4}, QuantSpec::floating(DataType::kFloat16)},
                                    {"b", {8, 8}, QuantSpec::floating(DataType::kBFloat16)},
                                    {"c", {4, 8}, QuantSpec::floating(DataType::kFloat16)}};
};

TEST(PrecisionLine, NamesTheFormatsOfMatricesByTheirShare) {
  EXPECT_EQ(weight_formats(Weights().weights()), "bfloat16, float16");
}

}  // namespace
}  // namespace tenon
