// Engines that `run` makes on the way.
// SPDX-License-Identifier: Apache-2.0
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Cache : public CliTest {
 protected:
  Cache() { environment_["TENON_LOG"] = "cache"; }

  static std::vector<std::string> words() {
    return {"run",       text_model(), "--input_text", "Hello", "--max_output_len", "4",
            "--threads", "1",          "--no_pin"};
  }
  std::size_t engines() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(at("cache/engines")))
      count += entry.is_directory() ? 1 : 0;
    return count;
  }
};

TEST_F(Cache, TheFirstRunMakesTheSecondUses) {
  const Result first = run(words());
  const Result second = run(words());
  EXPECT_EQ(first.code, 0);
  EXPECT_EQ(second.code, 0);
  EXPECT_THAT(first.err, HasSubstr("making"));
  EXPECT_THAT(second.err, Not(HasSubstr("making")));
  EXPECT_EQ(first.out, second.out);
  EXPECT_EQ(engines(), 1U);
  EXPECT_THAT(out_of({"cache"}), HasSubstr("models/llama_text"));
  EXPECT_THAT(out_of({"cache", "--clear"}), HasSubstr("freed"));
  EXPECT_EQ(engines(), 0U);
  EXPECT_EQ(run({"cache", "--remove", "nothing"}).code, 3);
}

TEST_F(Cache, TwoAtOnceMakeOne) {
  const Started one = start(words());
  const Started two = start(words());
  const Result first = finish(one);
  const Result second = finish(two);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(first.out, second.out);
  EXPECT_NE(first.err.find("making") == first.err.npos,
            second.err.find("making") == second.err.npos);
  EXPECT_EQ(engines(), 1U);
}

TEST_F(Cache, TheCapEvictsTheLeastRecentlyUsed) {
  environment_["TENON_CACHE_MAX_GIB"] = "0";
  EXPECT_EQ(run(words()).code, 0);
  std::vector<std::string> other = words();
  other[1] = data_file("gguf/llama_text.gguf");
  EXPECT_EQ(run(other).code, 0);
  EXPECT_EQ(engines(), 1U);
  EXPECT_THAT(out_of({"cache"}), HasSubstr("llama_text.gguf"));
}

TEST_F(Cache, AFolderThatCannotBeIsNoReasonToFail) {
  environment_["TENON_CACHE_DIR"] = "/dev/null/cache";
  const Result result = run(words());
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("TENON_CACHE_DIR"));
}

TEST_F(Cache, NoCacheKeepsNothing) {
  std::vector<std::string> all = words();
  all.push_back("--no_cache");
  EXPECT_EQ(run(all).code, 0);
  EXPECT_FALSE(fs::exists(at("cache")));
}

}  // namespace
}  // namespace tenon::test
