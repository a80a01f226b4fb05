// What the host says of a slot's blocks is checked before any kernel sees it.
// SPDX-License-Identifier: Apache-2.0
#include "backends/block_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The whole context in blocks of 16, and a window of 32 in blocks of 16.
std::vector<CacheGroupDescription> two_groups() {
  std::vector<CacheGroupDescription> groups(2);
  for (CacheGroupDescription& group : groups) {
    group.tokens_per_block = 16;
    group.blocks = 100;
  }
  groups[1].window = 32;
  return groups;
}

class BlockTablesTest : public ::testing::Test {
 protected:
  void change(int group, std::int32_t begin, std::vector<std::int32_t> blocks) {
    tables_.change({group, begin, std::move(blocks)}, groups_, 3, 8);
  }

  const std::vector<CacheGroupDescription> groups_ = two_groups();
  BlockTables tables_{2};
};

TEST_F(BlockTablesTest, TakesRunsOverAndAppends) {
  change(0, 0, {5, 6, 7});
  change(0, 2, {8, 9});
  change(0, 0, {-1});
  EXPECT_THAT(tables_.of(0), ElementsAre(-1, 6, 8, 9));
  EXPECT_THAT(tables_.of(1), IsEmpty());
  tables_.clear();
  EXPECT_THAT(tables_.of(0), IsEmpty());
}

TEST_F(BlockTablesTest, RefusesWhatIsNotThereAndChangesNothing) {
  change(0, 0, {5, 6});
  EXPECT_THROW(change(2, 0, {1}), Error);
  EXPECT_THROW(change(-1, 0, {1}), Error);
  EXPECT_THROW(change(0, -1, {1}), Error);
  EXPECT_THROW(change(0, 3, {1}), Error);  // a gap
  EXPECT_THROW(change(0, 1, {1, 100}), Error);
  EXPECT_THROW(change(0, 1, {-2}), Error);
  EXPECT_THROW(change(0, 2, {1, 2, 3, 4, 5, 6, 7}), Error);  // nine blocks where eight may be
  EXPECT_THAT(tables_.of(0), ElementsAre(5, 6));
}

TEST_F(BlockTablesTest, ReachesOverTheTokensThatAStepTouches) {
  change(0, 0, {1, 2, 3, 4});
  change(1, 0, {-1, -1, 3, 4});
  tables_.check_reach(groups_, 3, 63, 64);
  EXPECT_THROW(tables_.check_reach(groups_, 3, 64, 65), Error);
  tables_.check_reach(groups_, 3, 64, 64);                       // no tokens
  EXPECT_THROW(tables_.check_reach(groups_, 3, 62, 64), Error);  // token 31 is in its window
}

}  // namespace
}  // namespace tenon::test
