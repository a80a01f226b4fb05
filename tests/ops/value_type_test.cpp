// Types as text, there and back.
// SPDX-License-Identifier: Apache-2.0
#include "ops/value_type.h"

#include <gtest/gtest.h>

#include "tenon/error.h"

namespace tenon {
namespace {

TEST(ValueType, PrintsAndParses) {
  for (const char* text : {"float32 [T, 576]", "int32 [L]", "bfloat16 [E, 8]", "float32 [S]",
                           "cache", "float16 []", "float8_e4m3 [3, 4, 5]"})
    EXPECT_EQ(to_string(parse_value_type(text, "test")), text);
  EXPECT_EQ(parse_value_type("float32 [T, 576]", "test"),
            ValueType::tensor(DataType::kFloat32, {Symbol::kTokens, 576}));
}

TEST(ValueType, RefusesWhatIsNoType) {
  for (const char* text :
       {"", "float32", "float32 [T", "float32 [T,576]", "float32 [T, ]", "float32 [, T]",
        "float33 [T]", "float32 [?]", "float32 [-1]", "float32 [0]",
        "float32 [99999999999999999999]", "float32 [9999999999999999]",
        "float32 [1, 2, 3, 4, 5, 6, 7, 8, 9]", "cache [T]", " [T]", "float32 [T]]", "float32 [1x]"})
    EXPECT_THROW(parse_value_type(text, "test"), Error) << text;
}

}  // namespace
}  // namespace tenon
