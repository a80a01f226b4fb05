// Engines that `run` makes on the way.
// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <chrono>
#include <thread>

#include "core/file.h"
#include "program.h"

namespace tenon::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Cache : public CliTest {
 protected:
  Cache() { environment_["TENON_LOG"] = "cache"; }

  static std::vector<std::string> words(const std::string& model = text_model()) {
    return {"run",       model, "--input_text", "Hello", "--max_output_len", "4",
            "--threads", "1",   "--no_pin"};
  }
  /// The folder of the only cached engine.
  fs::path engine() const {
    fs::path found;
    for (const auto& entry : fs::directory_iterator(at("cache/engines")))
      if (entry.is_directory()) found = entry.path();
    return found;
  }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t number = 0;
    for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++number;
    return number;
  }
  /// Damages the engine with `change`; the next run makes it again and says so in one line.
  void expect_made_again(const char* what, const std::function<void(const fs::path&)>& change) {
    const Result whole = run(words());
    ASSERT_EQ(whole.code, 0) << whole.err;
    change(engine());
    const Result damaged = run(words());
    EXPECT_EQ(damaged.code, 0) << what << damaged.err;
    EXPECT_EQ(damaged.out, whole.out) << what;
    EXPECT_EQ(count(damaged.err, "[tenon warning]"), 1U) << what << damaged.err;
    EXPECT_THAT(damaged.err, HasSubstr("made again")) << what;
    const Result after = run(words());
    EXPECT_EQ(after.out, whole.out) << what;
    EXPECT_THAT(after.err, Not(AnyOf(HasSubstr("warning"), HasSubstr("making")))) << what;
    EXPECT_EQ(engines(), 1U);
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

TEST_F(Cache, ACopyOfAModelIsTheSameModel) {
  fs::copy(text_model(), at("copy"));
  fs::copy(data_file("gguf/llama_text.gguf"), at("renamed.gguf"));
  EXPECT_THAT(run(words()).err, HasSubstr("making"));
  EXPECT_THAT(run(words(at("copy"))).err, Not(HasSubstr("making")));
  EXPECT_THAT(run(words(data_file("gguf/llama_text.gguf"))).err, HasSubstr("making"));
  EXPECT_THAT(run(words(at("renamed.gguf"))).err, Not(HasSubstr("making")));
  EXPECT_EQ(engines(), 2U);
}

TEST_F(Cache, ACheckpointsWeightsCount) {
  out_of({"convert", "--model_dir", text_model(), "--output_dir", at("checkpoint")});
  EXPECT_THAT(run(words(at("checkpoint"))).err, HasSubstr("making"));
  std::string content = read_file(at("checkpoint/rank0.safetensors"));
  content[content.size() - 9] ^= 0x10;
  write("checkpoint/rank0.safetensors", content);
  EXPECT_EQ(run(words(at("checkpoint"))).code, 5) << "it is damaged, and must not seem whole";
}

TEST_F(Cache, ADamagedEngineIsMadeAgain) {
  const auto edit = [](const char* name, const std::function<void(std::string&)>& change) {
    return [name, change](const fs::path& engine) {
      std::string content = read_file(engine / name);
      change(content);
      write_file_atomically(engine / name, content);
    };
  };
  expect_made_again("a weight's bit", edit("rank0.safetensors", [](std::string& bytes) {
                      bytes[bytes.size() - 9] ^= 0x10;
                    }));
  expect_made_again("a cut file", edit("rank0.safetensors",
                                       [](std::string& bytes) { bytes.resize(bytes.size() / 2); }));
  expect_made_again("a graph's bit", edit("graph.json", [](std::string& text) { text[20] ^= 1; }));
  expect_made_again("a manifest's end",
                    edit("manifest.json", [](std::string& text) { text.resize(text.size() / 2); }));
  expect_made_again("an empty manifest",
                    edit("manifest.json", [](std::string& text) { text.clear(); }));
  for (const char* name :
       {"rank0.safetensors", "graph.json", "config.json", "tokenizer.json", "manifest.json"})
    expect_made_again(name, [&](const fs::path& engine) { fs::remove(engine / name); });
}

TEST_F(Cache, WhatIsWrongElsewhereMakesNothingAgain) {
  EXPECT_EQ(run(words()).code, 0);
  write("bad.jinja", "{% for %}");
  std::vector<std::string> all = words();
  all.insert(all.end(), {"--chat_template", at("bad.jinja")});
  const Result result = run(all);
  EXPECT_NE(result.code, 0);
  EXPECT_THAT(result.err, Not(AnyOf(HasSubstr("making"), HasSubstr("again"))));
}

TEST_F(Cache, AnEngineThatSomeoneOpensIsNotEvicted) {
  environment_["TENON_CACHE_MAX_GIB"] = "0";
  EXPECT_EQ(run(words()).code, 0);
  const fs::path opened = engine();
  {
    const FileLock lease(opened.string() + ".lock", FileLock::Kind::kShared);
    EXPECT_EQ(run(words(data_file("gguf/llama_text.gguf"))).code, 0);
    EXPECT_TRUE(fs::exists(opened / "manifest.json"));
  }
  out_of({"cache", "--clear"});
  EXPECT_EQ(engines(), 0U);
}

TEST_F(Cache, EvictorsNeverTakeAnEngineFromWhoOpensIt) {
  environment_["TENON_CACHE_MAX_GIB"] = "0";
  environment_.erase("TENON_LOG");
  std::atomic<bool> done{false};
  std::thread evictor([&] {
    while (!done) EXPECT_EQ(run({"cache", "--clear"}).code, 0);
  });
  for (int round = 0; round < 10; ++round) {
    const Started one = start(words());
    const Started two = start(words(data_file("gguf/llama_text.gguf")));
    const Result first = finish(one);
    const Result second = finish(two);
    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_EQ(second.code, 0) << second.err;
    EXPECT_THAT(first.err + second.err, Not(HasSubstr("warning")));
  }
  done = true;
  evictor.join();
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
