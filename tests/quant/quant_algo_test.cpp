// QuantAlgo: what TensorRT-LLM's names make of a matrix, and which modules they leave alone.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_algo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/half.h"
#include "tenon/error.h"

namespace tenon {
namespace {

using ::testing::HasSubstr;

template <class F>
std::string error_of(ErrorCode code, const F& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

TEST(QuantAlgo, Forms) {
  EXPECT_EQ(to_string(QuantAlgo("W8A16", 128, "m").spec()), "int8 group row scale float32");
  EXPECT_EQ(to_string(QuantAlgo("W4A16", 128, "m").spec()),
            "int4 group 128 scale float16 offset 8");
  EXPECT_EQ(to_string(QuantAlgo("W4A16", 0, "m").spec()), "int4 group row scale float16 offset 8");
  EXPECT_EQ(to_string(QuantAlgo("FP8", 128, "m").spec()), "float8_e4m3 group row scale float32");
  EXPECT_TRUE(QuantAlgo("FP8", 128, "m").one_scale());
  EXPECT_FALSE(QuantAlgo("W8A16", 128, "m").one_scale());
}

TEST(QuantAlgo, RefusalsNameTheWayOut) {
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [] { QuantAlgo("W4A16_AWQ", 128, "model"); }),
              HasSubstr("model: quant_algo \"W4A16_AWQ\" is not supported yet"));
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [] { QuantAlgo("NVFP4", 128, "model"); }),
              HasSubstr("FP8, W8A16 and W4A16 are"));
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [] { QuantAlgo("W4A16", 33, "model"); }),
              HasSubstr("group_size 33"));
  const QuantAlgo algo("W4A16", 128, "model");
  EXPECT_NO_THROW(algo.check_columns("w", 256, 64));
  EXPECT_THAT(
      error_of(ErrorCode::kInvalidArgument, [&] { algo.check_columns("w", 576, 192); }),
      HasSubstr("w: its 576 columns are no multiple of the group_size 128; sizes that divide "
                "those of all weights: 64, 32, 16, 0 (a scale a row)"));
}

/// Codes by the formula alone, in double.
TEST(QuantAlgo, RowsAreRoundedToTheNearest) {
  Tensor plain(DataType::kFloat32, {4, 256});
  for (int i = 0; i < 4 * 256; ++i)
    plain.mutable_as<float>()[i] = std::sin(static_cast<float>(i * i % 997)) * 0.03F;
  const QuantizedTensor weight = QuantizedTensor::from(std::move(plain));
  for (const char* name : {"W8A16", "W4A16"}) {
    const QuantAlgo algo(name, 128, "m");
    QuantizedTensor out = QuantizedTensor::empty(algo.spec(), weight.shape, "w");
    algo.quantize_rows(weight, {0, 1}, 0.0F, out, "w");
    algo.quantize_rows(weight, {1, 4}, 0.0F, out, "w");
    validate(out, "w");
    const Tensor back = dequantize(out);
    const bool int4 = algo.spec().group_size == 128;
    const int group = int4 ? 128 : 256;
    std::vector<float> scales(4 * 256 / static_cast<std::size_t>(group));
    convert_to_float(out.scale.dtype(), out.scale.data(), scales.data(), scales.size());
    for (int i = 0; i < 4 * 256; ++i) {
      double extreme = 0.0;
      for (int j = i / group * group; j < (i / group + 1) * group; ++j) {
        const double value = weight.codes.view().as<float>()[j];
        if (std::fabs(value) > std::fabs(extreme)) extreme = value;
      }
      const double scale = scales[static_cast<std::size_t>(i / group)];
      // int8 keeps the extreme value; int4's scale is searched for around the one that does.
      const double first = int4 ? -extreme / 8.0 : std::fabs(extreme) / 127.0;
      ASSERT_NEAR(scale / first, 1.0, int4 ? 0.3 : 1e-7);
      const double exact = weight.codes.view().as<float>()[i] / scale;
      const double code =
          std::clamp(std::nearbyint(exact), int4 ? -8.0 : -127.0, int4 ? 7.0 : 127.0);
      const double restored = back.view().as<float>()[i] / scale;
      // Half-way numbers may go either way: the kernel divides in fp32.
      const bool halfway = std::fabs(std::fabs(exact - std::floor(exact)) - 0.5) < 1e-4;
      ASSERT_NEAR(restored, code, halfway ? 1.001 : 1e-3) << name << " " << i;
    }
  }
}

TEST(QuantAlgo, ExcludedModules) {
  const std::vector<std::string>& usual = default_exclude_modules();
  EXPECT_TRUE(matches_any("lm_head", usual));
  EXPECT_TRUE(matches_any("transformer.vocab_embedding", usual));
  EXPECT_FALSE(matches_any("transformer.layers.0.mlp.fc", usual));
  EXPECT_TRUE(matches_any("transformer.layers.0.mlp.fc", {"*.mlp.*"}));
  EXPECT_TRUE(matches_any("transformer.layers.0.mlp.fc", {"transformer.layers.?.mlp.fc"}));
  EXPECT_FALSE(matches_any("transformer.layers.10.mlp.fc", {"transformer.layers.?.mlp.fc"}));
  EXPECT_TRUE(matches_any("aab", {"*ab"}));
  EXPECT_FALSE(matches_any("aabc", {"*ab"}));
  EXPECT_TRUE(matches_any("", {"*"}));
  EXPECT_FALSE(matches_any("a", {""}));
}

}  // namespace
}  // namespace tenon
