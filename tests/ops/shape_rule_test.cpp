// Shape rules: what each op gives, and the message for each thing that does not fit.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/check.h"
#include "ops/op_list.h"

namespace tenon {
namespace {

using Types = std::vector<ValueType>;
using Shapes = std::vector<Shape>;
using testing::HasSubstr;

ValueType rows(std::int64_t width, DataType dtype = DataType::kFloat32) {
  return ValueType::tensor(dtype, {Symbol::kTokens, width});
}
const ValueType kIds = ValueType::tensor(DataType::kInt32, {Symbol::kTokens});
const ValueType kWanted = ValueType::tensor(DataType::kInt32, {Symbol::kLogitRows});

std::string error_of(const Op& op, const Types& inputs, const Shapes& weights = {}) {
  try {
    infer_output_types(op, inputs, weights);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.what();
  }
  return "no error";
}

Types types_of(const Op& op, const Types& inputs, const Shapes& weights = {}) {
  return infer_output_types(op, inputs, weights);
}

Rope small_rope() { return {.heads = 2, .head_dim = 8, .rotary_dim = 4, .inv_freq = {1.F, 0.1F}}; }

TEST(ShapeRule, Embedding) {
  EXPECT_EQ(types_of(Embedding{}, {kIds}, {{100, 16}}), Types{rows(16)});
  EXPECT_EQ(error_of(Embedding{}, {rows(3)}, {{100, 16}}),
            "[embedding] ids is float32 [T, 3], expected int32 [rows]");
  EXPECT_EQ(error_of(Embedding{}, {kIds}, {{100}}),
            "[embedding] weight table is [100], expected [rows, width]");
  EXPECT_EQ(error_of(Embedding{}, {kIds}), "[embedding] has 0 weights, expected 1");
  EXPECT_THAT(error_of(Embedding{.row_begin = -1}, {kIds}, {{100, 16}}), HasSubstr("row_begin"));
}

TEST(ShapeRule, Linear) {
  EXPECT_EQ(types_of(Linear{}, {rows(8)}, {{24, 8}}), Types{rows(24)});
  EXPECT_EQ(
      types_of(Linear{.segments = 2, .has_bias = true}, {rows(8)}, {{24, 8}, {4, 8}, {24}, {4}}),
      (Types{rows(24), rows(4)}));
  EXPECT_EQ(types_of(Linear{}, {rows(8, DataType::kBFloat16)}, {{2, 8}}),
            Types{rows(2, DataType::kBFloat16)});
  EXPECT_EQ(error_of(Linear{}, {rows(8)}, {{24, 9}}),
            "[linear] weight 0 is [24, 9], expected [any, 8] for x float32 [T, 8]");
  EXPECT_EQ(error_of(Linear{.has_bias = true}, {rows(8)}, {{24, 8}, {23}}),
            "[linear] weight 1 (bias) is [23], expected [24]");
  EXPECT_EQ(error_of(Linear{.segments = 2}, {rows(8)}, {{24, 8}}),
            "[linear] has 1 weights, expected 2");
  EXPECT_THAT(error_of(Linear{.segments = std::numeric_limits<std::int64_t>::max()}, {rows(8)}),
              HasSubstr("segments"));
  EXPECT_THAT(error_of(Linear{}, {kIds}, {{24, 8}}), HasSubstr("expected a tensor of float32"));
  EXPECT_THAT(error_of(Linear{}, {ValueType::cache()}, {{24, 8}}), HasSubstr("x is cache"));
}

TEST(ShapeRule, Norms) {
  EXPECT_EQ(types_of(Norm{}, {rows(8)}, {{8}}), Types{rows(8)});
  EXPECT_EQ(types_of(Norm{.kind = NormKind::kGroup, .groups = 4, .has_bias = true}, {rows(8)},
                     {{8}, {8}}),
            Types{rows(8)});
  EXPECT_EQ(types_of(AddNorm{}, {rows(8), rows(8)}, {{8}}), (Types{rows(8), rows(8)}));
  EXPECT_EQ(error_of(Norm{}, {rows(8)}, {{7}}), "[norm] weight gain is [7], expected [8]");
  EXPECT_EQ(error_of(Norm{.kind = NormKind::kGroup, .groups = 3}, {rows(8)}, {{8}}),
            "[norm] 3 groups do not divide the 8 columns of x");
  EXPECT_THAT(error_of(Norm{.groups = 2}, {rows(8)}, {{8}}), HasSubstr("groups is 2"));
  EXPECT_THAT(error_of(Norm{.groups = 0}, {rows(8)}, {{8}}), HasSubstr("groups is 0"));
  EXPECT_THAT(error_of(Norm{.eps = std::numeric_limits<float>::infinity()}, {rows(8)}, {{8}}),
              HasSubstr("eps"));
  EXPECT_THAT(error_of(AddNorm{}, {rows(8), rows(9)}, {{8}}), HasSubstr("expected the same type"));
}

TEST(ShapeRule, Elementwise) {
  EXPECT_EQ(types_of(Activation{}, {rows(8)}), Types{rows(8)});
  EXPECT_EQ(types_of(Add{}, {rows(8), rows(8)}), Types{rows(8)});
  EXPECT_EQ(types_of(Cast{.to = DataType::kBFloat16}, {rows(8)}),
            Types{rows(8, DataType::kBFloat16)});
  EXPECT_THAT(error_of(Add{}, {rows(8), rows(8, DataType::kFloat16)}), HasSubstr("same type"));
  EXPECT_THAT(error_of(GatedActivation{}, {rows(8), rows(4)}), HasSubstr("gate is"));
  EXPECT_THAT(error_of(Softcap{.cap = 0.F}, {rows(8)}), HasSubstr("positive"));
  EXPECT_THAT(error_of(Scale{.factor = std::nanf("")}, {rows(8)}), HasSubstr("finite"));
  EXPECT_THAT(error_of(Cast{.to = DataType::kInt8}, {rows(8)}), HasSubstr("the output is int8"));
  EXPECT_THAT(error_of(Mul{}, {rows(8)}), HasSubstr("has 1 inputs, expected 2"));
}

TEST(ShapeRule, RowsAndColumns) {
  EXPECT_EQ(types_of(Concat{}, {rows(8), rows(4)}), Types{rows(12)});
  EXPECT_EQ(types_of(Slice{.begin = 2, .end = 5}, {rows(8)}), Types{rows(3)});
  EXPECT_EQ(types_of(GatherRows{}, {rows(8), kWanted}),
            Types{ValueType::tensor(DataType::kFloat32, {Symbol::kLogitRows, 8})});
  EXPECT_THAT(error_of(Concat{}, {}), HasSubstr("no inputs"));
  EXPECT_THAT(error_of(Slice{.begin = 5, .end = 5}, {rows(8)}), HasSubstr("columns [5, 5)"));
  EXPECT_THAT(error_of(Slice{.begin = 0, .end = 9}, {rows(8)}), HasSubstr("within its 8 columns"));
  EXPECT_THAT(error_of(GatherRows{}, {rows(8), rows(8)}), HasSubstr("rows is"));
}

TEST(ShapeRule, RopeAndCache) {
  EXPECT_EQ(types_of(small_rope(), {rows(16), kIds}), Types{rows(16)});
  const CacheWrite write{.cache_layer = 0, .kv_heads = 1, .head_dim = 8};
  EXPECT_EQ(types_of(write, {rows(8), rows(8)}), Types{ValueType::cache()});
  EXPECT_EQ(types_of(RopeCacheWrite{.rope = small_rope(), .write = write},
                     {rows(16), rows(8), rows(8), kIds}),
            (Types{rows(16), ValueType::cache()}));
  Rope odd = small_rope();
  odd.rotary_dim = 3;
  EXPECT_THAT(error_of(odd, {rows(16), kIds}), HasSubstr("even"));
  Rope few = small_rope();
  few.inv_freq.pop_back();
  EXPECT_EQ(error_of(few, {rows(16), kIds}), "[rope] inv_freq has 1 values, expected 2");
  Rope longrope = small_rope();
  longrope.length = RopeLength::kSwitch;
  EXPECT_THAT(error_of(longrope, {rows(16), kIds}), HasSubstr("long_inv_freq has 0"));
  EXPECT_THAT(error_of(small_rope(), {rows(17), kIds}), HasSubstr("expected 16 columns"));
  EXPECT_THAT(error_of(small_rope(), {rows(16), kWanted}), HasSubstr("same rows"));
  EXPECT_THAT(error_of(write, {rows(8), rows(9)}), HasSubstr("same type"));
  EXPECT_THAT(
      error_of(RopeCacheWrite{.rope = small_rope(), .write = {.kv_heads = 1, .head_dim = 4}},
               {rows(16), rows(4), rows(4), kIds}),
      HasSubstr("write.head_dim is 4"));
}

TEST(ShapeRule, Attention) {
  const Attention op{.heads = 4, .kv_heads = 2, .head_dim = 8};
  EXPECT_EQ(types_of(op, {rows(32), ValueType::cache()}), Types{rows(32)});
  Attention direct = op;
  direct.source = AttentionSource::kDirect;
  EXPECT_EQ(types_of(direct, {rows(32), rows(16), rows(16)}), Types{rows(32)});
  Attention cross = op;
  cross.source = AttentionSource::kCross;
  const auto encoder = ValueType::tensor(DataType::kFloat32, {Symbol::kEncoderTokens, 16});
  EXPECT_EQ(types_of(cross, {rows(32), encoder, encoder}), Types{rows(32)});
  EXPECT_THAT(error_of(direct, {rows(32), encoder, encoder}), HasSubstr("same rows"));
  EXPECT_THAT(error_of(op, {rows(32), rows(16)}), HasSubstr("expected a cache"));
  EXPECT_THAT(error_of(op, {rows(33), ValueType::cache()}), HasSubstr("expected 32 columns"));
  Attention uneven = op;
  uneven.kv_heads = 3;
  EXPECT_EQ(error_of(uneven, {rows(32), ValueType::cache()}),
            "[attention] 3 kv_heads do not divide 4 heads");
  Attention alibi = op;
  alibi.alibi = true;
  EXPECT_THAT(error_of(alibi, {rows(32), ValueType::cache()}), HasSubstr("total_heads is 0"));
  Attention relative = op;
  relative.relative_bias = true;
  EXPECT_EQ(types_of(relative, {rows(32), ValueType::cache()}, {{32, 4}}), Types{rows(32)});
  EXPECT_EQ(error_of(relative, {rows(32), ValueType::cache()}, {{32, 3}}),
            "[attention] weight relative bias is [32, 3], expected [32, 4]");
  Attention huge = op;
  huge.heads = huge.head_dim = std::int64_t{1} << 62;
  EXPECT_THAT(error_of(huge, {rows(32), ValueType::cache()}), HasSubstr("heads is"));
}

TEST(ShapeRule, GatedLinear) {
  EXPECT_EQ(types_of(GatedLinear{.has_bias = true}, {rows(8)}, {{5, 8}, {5, 8}, {5}, {5}}),
            Types{rows(5)});
  EXPECT_EQ(error_of(GatedLinear{}, {rows(8)}, {{5, 8}, {6, 8}}),
            "[gated_linear] weight up is [6, 8], expected [5, 8]");
}

TEST(ShapeRule, Collectives) {
  EXPECT_EQ(types_of(AllReduce{}, {rows(8)}), Types{rows(8)});
  EXPECT_EQ(types_of(AllGather{.widths = {3, 2}}, {rows(2)}), Types{rows(5)});
  EXPECT_EQ(types_of(Send{.peer = 1}, {rows(8)}), Types{});
  EXPECT_EQ(types_of(Receive{.peer = 1, .width = 8}, {}), Types{rows(8)});
  EXPECT_THAT(error_of(AllGather{.widths = {3, 2}}, {rows(4)}), HasSubstr("[3, 2]"));
  EXPECT_THAT(error_of(AllGather{.widths = {3, -1}}, {rows(3)}), HasSubstr("width is -1"));
  EXPECT_THAT(error_of(AllGather{}, {rows(3)}), HasSubstr("sum of widths"));
  EXPECT_THAT(error_of(Receive{.peer = -1, .width = 8}, {}), HasSubstr("peer"));
  EXPECT_THAT(error_of(Receive{.rows = Symbol::kNone, .width = 8}, {}), HasSubstr("symbolic"));
}

}  // namespace
}  // namespace tenon
