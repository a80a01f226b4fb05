// tenon plan: what a run would take, and how far its limits could go, without loading anything.
// SPDX-License-Identifier: Apache-2.0
#include "../core/sanitizer.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Plan : public CliTest {
 protected:
  std::vector<std::string> words(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"plan", text_model(), "--device", "cpu", "--threads", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Json plan(std::vector<std::string> more, int code = 0) const {
    more.emplace_back("--json");
    const Result result = run(words(more));
    EXPECT_EQ(result.code, code) << result.err;
    return Json::parse(result.out, "plan");
  }
  static std::int64_t number(const Json& plan, const char* name) {
    return plan.at(name, "").as_int("");
  }
  /// Sum of the rows of a kind.
  static std::int64_t bytes(const Json& plan, const std::string& kind) {
    std::int64_t sum = 0;
    for (const Json& row : plan.at("rows", "").as_array(""))
      if (row.at("kind", "").as_string("") == kind) sum += row.at("bytes", "").as_int("");
    return sum;
  }
};

TEST_F(Plan, RowsAddUpAndNothingIsKept) {
  const std::string cached = out_of({"cache"});
  const Json json = plan({"--max_batch_size", "4"});
  std::int64_t sum = 0;
  for (const Json& row : json.at("rows", "").as_array("")) sum += row.at("bytes", "").as_int("");
  EXPECT_EQ(number(json, "bytes"), sum);
  EXPECT_GT(bytes(json, "weights"), 0);
  EXPECT_EQ(number(json, "max_batch_size"), 4);
  EXPECT_EQ(number(json, "max_seq_len"), 128);
  EXPECT_EQ(number(json, "kv_cache_tokens"), 4 * 128);
  EXPECT_EQ(number(json, "longest_length"), 128) << "the model's positions end there";
  EXPECT_EQ(out_of({"cache"}), cached);
  const std::string text = out_of(words({"--max_batch_size", "4"}));
  EXPECT_THAT(text, AllOf(HasSubstr("packed weights"), HasSubstr("for max_batch_size 4"),
                          HasSubstr("largest batch of 128 tokens each")));
  EXPECT_EQ(text.find("DOES NOT FIT"), std::string::npos);
}

TEST_F(Plan, FollowsTheFlagsOfARun) {
  const Json one = plan({"--max_batch_size", "1"});
  const Json eight = plan({"--max_batch_size", "8"});
  EXPECT_NEAR(static_cast<double>(bytes(eight, "cache")),
              8.0 * static_cast<double>(bytes(one, "cache")),
              0.1 * static_cast<double>(bytes(eight, "cache")));
  const Json half = plan({"--max_batch_size", "8", "--kv_cache_dtype", "bfloat16"});
  EXPECT_NEAR(static_cast<double>(bytes(half, "cache")),
              0.5 * static_cast<double>(bytes(eight, "cache")),
              0.1 * static_cast<double>(bytes(eight, "cache")));
  EXPECT_EQ(number(plan({"--max_tokens_in_paged_kv_cache", "64"}), "kv_cache_tokens"), 64);
  const Json bytes_given = plan({"--kv_cache_bytes", "100000"});
  EXPECT_LE(bytes(bytes_given, "cache"), 100000);
  EXPECT_GT(bytes(bytes_given, "cache"), 50000);
  const Json swapped = plan({"--max_batch_size", "8", "--host_cache_size", "200000"});
  // Not the sums: what the process held before differs between two runs of the program.
  EXPECT_NEAR(static_cast<double>(bytes(swapped, "host") - bytes(eight, "host")), 200000, 40000)
      << "the host's part of the cache is in the plan";
}

TEST_F(Plan, RanksHaveRowsOfTheirOwn) {
  const std::string text = out_of(words({"--tp_size", "2", "--pp_size", "2"}));
  EXPECT_THAT(text, AllOf(HasSubstr("rank 0: packed weights"), HasSubstr("rank 3: packed weights"),
                          HasSubstr("communication")));
  EXPECT_EQ(text.find("rank 4"), std::string::npos);
  const Result result = run(words({"--tp_size", "3"}));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("1, 2, 4"));
}

TEST_F(Plan, EndsWith7WhereItDoesNotFit) {
  const Json small = plan({"--memory_limit", "1000000"}, 7);
  EXPECT_FALSE(small.at("fits", "").as_bool(""));
  EXPECT_EQ(number(small, "limit_bytes"), 1000000);
  EXPECT_EQ(number(small, "largest_batch"), 0);
  EXPECT_EQ(number(small, "longest_length"), 0);
  const Result result = run(words({"--device_memory", "1000000"}));
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.out, AllOf(HasSubstr("DOES NOT FIT"), HasSubstr("none")));

  const Json large = plan({"--device_memory", "1000000000"});
  EXPECT_TRUE(large.at("fits", "").as_bool(""));
  EXPECT_EQ(number(large, "limit_bytes"), 1000000000);
  EXPECT_GT(number(large, "largest_batch"), 100);
}

TEST_F(Plan, TheLargestBatchFitsAndOneHalfLargerDoesNot) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer's own memory moves between two runs";
  const std::string limit = "40000000";
  const std::int64_t largest = number(plan({"--memory_limit", limit}), "largest_batch");
  ASSERT_GT(largest, 16);
  const auto code = [&](std::int64_t batch) {
    const std::string sequences = std::to_string(batch);
    return run(words({"--memory_limit", limit, "--max_batch_size", sequences, "--max_num_tokens",
                      std::to_string(std::max<std::int64_t>(batch, 512)),
                      "--max_tokens_in_paged_kv_cache", std::to_string(batch * 128)}))
        .code;
  };
  EXPECT_EQ(code(largest * 9 / 10), 0);  // what the process itself holds moves a little
  EXPECT_EQ(code(largest * 3 / 2), 7);
}

TEST_F(Plan, WrongFlagsAreRefusedByName) {
  for (const std::string flag : {"--memory_limit", "--device_memory"})
    for (const char* value : {"-4", "0", "1GiB", "99999999999999999999"}) {
      const Result result = run(words({flag, value}));
      EXPECT_EQ(result.code, 2) << value;
      EXPECT_THAT(result.err, HasSubstr(flag));
      EXPECT_EQ(result.out, "");
    }
  EXPECT_EQ(run({"plan"}).code, 2);
  EXPECT_EQ(run({"plan", at("nowhere")}).code, 3);
  const Result result = run(words({"--memory_limt", "5"}));
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("did you mean \"--memory_limit\"?"));
}

}  // namespace
}  // namespace tenon::test
