// SPDX-License-Identifier: Apache-2.0
#include "layers/activation_name.h"

#include "layer_test_support.h"

namespace tenon {
namespace {

TEST(ActivationName, NamesOfOneThingAreOneKind) {
  EXPECT_EQ(parse_activation("swish", "t"), ActivationKind::kSilu);
  EXPECT_EQ(parse_activation("gelu_new", "t"), ActivationKind::kGeluTanh);
  EXPECT_EQ(parse_activation("relu_squared", "t"), ActivationKind::kRelu2);
  EXPECT_EQ(parse_gated_activation("swiglu", "t"), ActivationKind::kSilu);
  EXPECT_EQ(parse_gated_activation("gegelu", "t"), ActivationKind::kGelu);
  EXPECT_EQ(parse_gated_activation("relu", "t"), ActivationKind::kRelu);
}

TEST(ActivationName, UnknownOnesAreErrors) {
  EXPECT_THAT(test::error_of([] { parse_activation("sillu", "layers.0.mlp"); }),
              testing::AllOf(testing::HasSubstr("layers.0.mlp"),
                             testing::HasSubstr("did you mean \"silu\"?")));
}

}  // namespace
}  // namespace tenon
