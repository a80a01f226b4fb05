// QuantSpec: text form, sizes, and what is refused.
// SPDX-License-Identifier: Apache-2.0
#include "quant/quant_spec.h"

#include <gtest/gtest.h>

#include "quant/formats/gguf_blocks.h"
#include "tenon/error.h"

namespace tenon {
namespace {

void expect_refused(std::string_view text, std::string_view part) {
  try {
    parse_quant_spec(text, "manifest");
    ADD_FAILURE() << "accepted: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("manifest"), std::string::npos) << error.what();
  }
}

TEST(QuantSpec, TextRoundTrips) {
  for (const auto type :
       {GgufTensorType::kF32, GgufTensorType::kBF16, GgufTensorType::kI8, GgufTensorType::kQ4_0,
        GgufTensorType::kQ4_1, GgufTensorType::kQ5_0, GgufTensorType::kQ5_1, GgufTensorType::kQ8_0,
        GgufTensorType::kQ2_K, GgufTensorType::kQ3_K, GgufTensorType::kQ4_K, GgufTensorType::kQ5_K,
        GgufTensorType::kQ6_K, GgufTensorType::kIQ4_NL}) {
    QuantSpec spec = gguf_quant_spec(type);
    EXPECT_EQ(parse_quant_spec(to_string(spec), "test"), spec) << to_string(spec);
    if (spec.two_level()) {
      spec.super_phase = 32;
      EXPECT_EQ(parse_quant_spec(to_string(spec), "test"), spec) << to_string(spec);
    }
  }
  EXPECT_EQ(to_string(gguf_quant_spec(GgufTensorType::kQ4_0)),
            "int4 group 32 scale float16 offset 8");
  EXPECT_EQ(to_string(gguf_quant_spec(GgufTensorType::kQ3_K)),
            "int3 group 16 scale float16 offset 4 super 256 sub 8 signed");
  EXPECT_EQ(to_string(parse_quant_spec("int8 group row scale float32", "test")),
            "int8 group row scale float32");
}

TEST(QuantSpec, ScaledFloats) {
  const QuantSpec spec = QuantSpec::scaled_float(DataType::kFloat8E4M3);
  EXPECT_EQ(to_string(spec), "float8_e4m3 group row scale float32");
  EXPECT_EQ(parse_quant_spec("float8_e4m3 group row scale float32", "test"), spec);
  EXPECT_FALSE(spec.is_float());
  EXPECT_TRUE(parse_quant_spec("float8_e4m3", "test").is_float());
  EXPECT_EQ(spec.bytes(3, 100), 3 * (100 + 4));
  const QuantSpec blocks = parse_quant_spec("float8_e5m2 group 128 scale bfloat16", "test");
  EXPECT_EQ(parse_quant_spec(to_string(blocks), "test"), blocks);
  EXPECT_EQ(blocks.bytes(2, 256), 2 * (256 + 2 * 2));
  expect_refused("bfloat16 group row scale float32", "not known");
  expect_refused("float8_e4m3 group row scale int8", "int8");
  expect_refused("float8_e4m3 group row scale float32 offset 1", "offset 1");
  expect_refused("float8_e4m3 group row scale float32 minimum", "minimum");
  expect_refused("float8_e4m3 group 32 scale float32 super 256 sub 8", "one-level");
  QuantSpec wrong = spec;
  wrong.float_type = DataType::kFloat16;
  EXPECT_THROW(wrong.check("test"), Error);
  wrong = spec;
  wrong.bits = 4;
  EXPECT_THROW(wrong.check("test"), Error);
}

TEST(QuantSpec, RefusesWhatCannotBe) {
  expect_refused("", "breaks off");
  expect_refused("float17", "float17");
  expect_refused("int7 group 32", "bits 7");
  expect_refused("int4 group", "breaks off");
  expect_refused("int4 group -1", "-1");
  expect_refused("int4 group 99999999999999999999", "99999999999999999999");
  expect_refused("int4 group 3", "group 3");
  expect_refused("int4 group 32 scale int8", "int8");
  expect_refused("int4 group 32 offset 16", "offset 16");
  expect_refused("int4 group 32 colour blue", "colour");
  expect_refused("int4 group 32 super 100 sub 8", "super 100");
  expect_refused("int4 group 32 super 256 sub 5", "sub 5");
  expect_refused("int4 group 32 super 256 sub 8 phase 256", "phase 256");
  expect_refused("int4 group 32 super 256 sub 8 phase 16", "phase 16");
  expect_refused("int4 group 32 sub 8", "sub 8");
  expect_refused("codebook4 group 32 minimum", "minimum");
  expect_refused("float16 group 32", "not known");
}

TEST(QuantSpec, SizesStayNearTheFile) {
  for (std::uint32_t id = 0; id < 64; ++id) {
    const GgufTypeInfo* info = find_gguf_type(id);
    if (info == nullptr || !info->supported) continue;
    const auto type = static_cast<GgufTensorType>(id);
    const double file = static_cast<double>(gguf_byte_count(type, {64, 1024}, "t"));
    const double canonical = static_cast<double>(gguf_quant_spec(type).bytes(64, 1024));
    EXPECT_GE(canonical, file) << info->name;
    EXPECT_LE(canonical, file * 1.05) << info->name;
  }
}

TEST(QuantSpec, SupersAcrossAPhase) {
  QuantSpec spec = gguf_quant_spec(GgufTensorType::kQ6_K);
  EXPECT_EQ(spec.supers(512), 2);
  spec.super_phase = 240;
  EXPECT_EQ(spec.supers(16), 1);
  EXPECT_EQ(spec.supers(32), 2);
  EXPECT_EQ(spec.supers(0), 0);
}

}  // namespace
}  // namespace tenon
