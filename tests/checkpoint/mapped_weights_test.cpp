// What a weight map makes of files whose tensors are not what the architecture expects.
// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/mapped_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon {
namespace {

using ::testing::HasSubstr;

class OneTensor : public TensorTable {
 public:
  OneTensor(const QuantSpec& spec, const Shape& shape)
      : tensor_(QuantizedTensor::empty(spec, shape, "b")) {
    add({.name = "b", .shape = shape, .spec = spec, .file = "file", .stored_type = "Q4_0"});
  }

 private:
  QuantizedTensor load_at(std::size_t) const override { return tensor_; }
  void drop_at(std::size_t) const override {}

  QuantizedTensor tensor_;
};

WeightMap permuted() {
  WeightMap map;
  map.rules.push_back({.name = "bias", .source = "b", .unpermute_head = 32});
  return map;
}

// Its codes have one row, so that picking rows or cutting it would read past them.
TEST(MappedWeights, QuantizedVectorsAreRefused) {
  const QuantSpec spec = parse_quant_spec("int4 group 32 scale float16 offset 8", "test");
  try {
    const auto source =
        map_weights(std::make_shared<OneTensor>(spec, Shape{64}), permuted(), "model");
    source->load("bias", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr("b [64] is Q4_0; only matrices may be quantized"));
  }
}

TEST(MappedWeights, QuantizedMatricesArePermuted) {
  const QuantSpec spec = parse_quant_spec("int4 group 32 scale float16 offset 8", "test");
  const auto source =
      map_weights(std::make_shared<OneTensor>(spec, Shape{64, 32}), permuted(), "model");
  EXPECT_EQ(source->load("bias", {}).shape, (Shape{64, 32}));
  EXPECT_EQ(source->load("bias", {{32, 64}, {0, 32}}).shape, (Shape{32, 32}));
}

}  // namespace
}  // namespace tenon
