// QuantAlgo: what TensorRT-LLM's names make of a matrix, and which modules they leave alone.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_algo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

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
    const int group = algo.spec().group_size == 0 ? 256 : 128;
    for (int i = 0; i < 4 * 256; ++i) {
      double scale = 0.0;
      if (group == 256)
        scale = std::fabs(static_cast<double>(out.scale.view().as<float>()[i / group]));
      double extreme = 0.0;
      for (int j = i / group * group; j < (i / group + 1) * group; ++j) {
        const double value = weight.codes.view().as<float>()[j];
        if (std::fabs(value) > std::fabs(extreme)) extreme = value;
      }
      const double step = std::fabs(extreme) / (group == 256 ? 127.0 : 8.0);
      if (group == 256) {
        EXPECT_NEAR(scale, step, 1e-7 * step);
      }
      const double exact = weight.codes.view().as<float>()[i];
      // int4 has one code more on the extreme's side: what lies opposite is clipped to 7 steps.
      const bool clipped = group == 128 && exact * extreme < 0 && std::fabs(exact) > 7.5 * step;
      ASSERT_LE(std::fabs(back.view().as<float>()[i] - exact), (clipped ? 1.01 : 0.505) * step)
          << name << " " << i;
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
