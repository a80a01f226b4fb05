// Every op of the list, with every field off its default, through JSON text and back.
// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/check.h"
#include "core/json.h"
#include "ops/op_list.h"

namespace tenon {
namespace {

using testing::HasSubstr;

/// Moves a field off its default, each field by another amount.
class Filler {
 public:
  void fill(std::int64_t& value) { value = ++next_ * 1000003; }
  void fill(float& value) { value = 1.F / static_cast<float>(3 + ++next_); }
  void fill(bool& value) { value = !value; }
  void fill(std::vector<float>& values) {
    values = {0.1F,
              1e-30F,
              std::nextafter(1.F, 2.F),
              -0.F,
              std::numeric_limits<float>::max(),
              std::numeric_limits<float>::denorm_min()};
  }
  void fill(std::vector<std::int64_t>& values) { values = {++next_, ++next_}; }
  template <class T>
    requires std::is_enum_v<T>
  void fill(T& value) {
    value = static_cast<T>(1);
  }
  template <class T>
    requires requires { T::fields(); }
  void fill(T& op) {
    std::apply([&](const auto&... f) { (fill(op.*(f.member)), ...); }, T::fields());
  }

 private:
  std::int64_t next_ = 0;
};

template <std::size_t I = 0>
void for_every_op(const std::function<void(const Op&)>& each) {
  if constexpr (I < std::variant_size_v<Op>) {
    Op op(std::in_place_index<I>);
    each(op);
    std::visit([](auto& held) { Filler().fill(held); }, op);
    each(op);
    for_every_op<I + 1>(each);
  }
}

TEST(OpJson, RoundTripOfEveryOp) {
  for_every_op([](const Op& op) {
    const std::string text = to_json(op).dump();
    const Op back = op_from_json(Json::parse(text, "test"), "test");
    EXPECT_TRUE(same_op(op, back)) << text;
    EXPECT_EQ(to_json(back).dump(), text);
  });
}

TEST(OpJson, FloatsAreShortAndExact) {
  EXPECT_EQ(to_json(Norm{.eps = 1e-5F}).dump(),
            R"({"op":"norm","kind":"rms","eps":1e-05,"groups":1,"weight_offset":0.0,)"
            R"("has_bias":false})");
}

std::string error_of(const char* text) {
  try {
    op_from_json(Json::parse(text, "test"), "node 3");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    return error.what();
  }
  return "no error";
}

TEST(OpJson, ErrorsNameOpFieldAndNearest) {
  EXPECT_THAT(error_of(R"({"op":"lineer"})"), HasSubstr("did you mean \"linear\""));
  EXPECT_THAT(error_of(R"({"op":"scale"})"), HasSubstr("node 3: [scale]: \"factor\" is missing"));
  EXPECT_THAT(error_of(R"({"op":"scale","factor":1,"facto":1})"), HasSubstr("no field \"facto\""));
  EXPECT_THAT(error_of(R"({"op":"scale","factor":1e39})"), HasSubstr("does not fit"));
  EXPECT_THAT(error_of(R"({"op":"scale","factor":null})"), HasSubstr("[scale] factor"));
  EXPECT_THAT(error_of(R"({"op":"activation","kind":"sillu"})"),
              HasSubstr("did you mean \"silu\""));
  EXPECT_THAT(error_of(R"({"op":"cast","to":"float31"})"), HasSubstr("[cast] to"));
  EXPECT_THAT(error_of(R"({"op":"slice","begin":0.5,"end":1})"), HasSubstr("[slice] begin"));
  EXPECT_THAT(error_of(R"({"op":7})"), HasSubstr("expected a string"));
  EXPECT_THAT(error_of(R"([])"), HasSubstr("\"op\" is missing"));
}

TEST(OpList, DescribesFieldsShortly) {
  EXPECT_EQ(describe(Norm{.eps = 1e-5F}), "kind=rms eps=1e-05 groups=1");
  EXPECT_EQ(describe(Add{}), "");
  Rope rope{.heads = 2, .inv_freq = std::vector<float>(40, 0.5F)};
  EXPECT_THAT(describe(rope), HasSubstr("inv_freq=[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,… 40 in all]"));
  EXPECT_THAT(describe(RopeCacheWrite{.rope = rope}), HasSubstr("rope.heads=2"));
}

TEST(OpList, PlainOpsAreThoseOfAStoredGraph) {
  EXPECT_TRUE(is_plain(Linear{}));
  EXPECT_FALSE(is_plain(Linear{.segments = 2}));
  EXPECT_FALSE(is_plain(AllReduce{}));
  EXPECT_FALSE(is_plain(AddNorm{}));
  EXPECT_FALSE(same_op(Add{}, Mul{}));
  EXPECT_STREQ(name_of(RopeCacheWrite{}), "rope_cache_write");
}

}  // namespace
}  // namespace tenon
