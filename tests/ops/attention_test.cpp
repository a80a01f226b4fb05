// Position biases of attention against published values.
// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tenon {
namespace {

TEST(Alibi, PowersOfTwoAreGeometric) {
  for (std::int64_t head = 0; head < 8; ++head)
    EXPECT_FLOAT_EQ(alibi_slope(head, 8), 1.F / static_cast<float>(2 << head));
  EXPECT_FLOAT_EQ(alibi_slope(15, 16), 1.F / 256.F);
}

TEST(Alibi, OtherCountsTakeEverySecondOfTheNextPower) {
  // 12 heads: the 8 slopes of 8, then terms 0, 2, 4, 6 of the 16 slopes of 16.
  EXPECT_FLOAT_EQ(alibi_slope(7, 12), 1.F / 256.F);
  EXPECT_FLOAT_EQ(alibi_slope(8, 12), std::exp2(-0.5F));
  EXPECT_FLOAT_EQ(alibi_slope(9, 12), std::exp2(-1.5F));
  EXPECT_FLOAT_EQ(alibi_slope(11, 12), std::exp2(-3.5F));
  EXPECT_FLOAT_EQ(alibi_slope(0, 1), 1.F / 256.F);
}

TEST(RelativeBucket, BidirectionalUsesHalfForEachSide) {
  EXPECT_EQ(relative_bucket(0, true, 32, 128), 0);
  EXPECT_EQ(relative_bucket(-3, true, 32, 128), 3);
  EXPECT_EQ(relative_bucket(3, true, 32, 128), 19);
  EXPECT_EQ(relative_bucket(-8, true, 32, 128), 8);
  EXPECT_EQ(relative_bucket(-16, true, 32, 128), 10);  // 8 + floor(8 ln 2 / ln 16)
  EXPECT_EQ(relative_bucket(-127, true, 32, 128), 15);
  EXPECT_EQ(relative_bucket(1000000, true, 32, 128), 31);
}

TEST(RelativeBucket, CausalPutsTheFutureIntoBucketZero) {
  EXPECT_EQ(relative_bucket(5, false, 32, 128), 0);
  EXPECT_EQ(relative_bucket(-15, false, 32, 128), 15);
  EXPECT_EQ(relative_bucket(-16, false, 32, 128), 16);
  EXPECT_EQ(relative_bucket(-40, false, 32, 128), 23);  // 16 + floor(16 ln 2.5 / ln 8)
  EXPECT_EQ(relative_bucket(-1000, false, 32, 128), 31);
}

}  // namespace
}  // namespace tenon
