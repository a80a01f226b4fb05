// TENON_LOG's words.
// SPDX-License-Identifier: Apache-2.0
#include "core/log.h"

#include <gtest/gtest.h>

namespace tenon {
namespace {

TEST(Log, KnownTopicsPass) {
  for (const char* wanted : {"", ",", "all", "cache", "dispatch,load,cache", "load, cache"})
    EXPECT_EQ(log::unknown_topics(wanted), "") << wanted;
}

TEST(Log, UnknownOnesNameTheNearestAndAll) {
  EXPECT_EQ(log::unknown_topics("cach,load,bananas"),
            "[tenon warning] TENON_LOG: no topic \"cach\"; did you mean \"cache\"?; topics: "
            "dispatch, load, cache, all\n"
            "[tenon warning] TENON_LOG: no topic \"bananas\"; topics: dispatch, load, cache, "
            "all\n");
}

}  // namespace
}  // namespace tenon
