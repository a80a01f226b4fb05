// What the key of a cached engine depends on.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <set>

#include "api/engine_cache.h"
#include "fixture.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

class CacheKey : public ::testing::Test {
 protected:
  CacheKey() {
    std::string name = (fs::temp_directory_path() / "tenon-key-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    ::setenv("TENON_CACHE_DIR", (folder_ / "cache").c_str(), 1);
    make_engines_folder();
    model_ = folder_ / "model";
    fs::copy(test::data_path("models/llama_text"), model_);
  }
  ~CacheKey() override {
    ::unsetenv("TENON_CACHE_DIR");
    fs::remove_all(folder_);
  }
  std::string key(const BuildConfig& build = {}) const {
    return cache_key(open_model_source(model_.string()), build);
  }

  fs::path folder_, model_;
};

TEST_F(CacheKey, ChangesWithEveryFileAndOptionAndWithNothingElse) {
  std::set<std::string> keys = {key()};
  fs::rename(model_, folder_ / "moved");
  model_ = folder_ / "moved";
  fs::last_write_time(model_ / "config.json", fs::file_time_type::clock::now());
  std::ofstream(model_ / "README.md") << "no file of the engine";
  EXPECT_EQ(key(), *keys.begin());

  BuildConfig shorter;
  shorter.max_seq_len = 32;
  EXPECT_TRUE(keys.insert(key(shorter)).second);
  BuildConfig blocks;
  blocks.tokens_per_block = 16;
  EXPECT_TRUE(keys.insert(key(blocks)).second);
  std::ofstream(model_ / "config.json", std::ios::app) << "\n";
  EXPECT_TRUE(keys.insert(key()).second);
  std::ofstream(model_ / "tokenizer_config.json", std::ios::app) << "\n";
  EXPECT_TRUE(keys.insert(key()).second);
  std::ofstream(model_ / "generation_config.json") << "{\"do_sample\": true}";
  EXPECT_TRUE(keys.insert(key()).second);
  // The same bytes under another name mean something else.
  std::ofstream(model_ / "added_tokens.json") << "{}";
  EXPECT_TRUE(keys.insert(key()).second);
  fs::rename(model_ / "added_tokens.json", model_ / "special_tokens_map.json");
  EXPECT_TRUE(keys.insert(key()).second);
}

TEST_F(CacheKey, SeesAChangeInTheMiddleThatKeepsSizeAndTime) {
  model_ = folder_ / "model.gguf";
  fs::copy(test::data_path("gguf/llama_mixed.gguf"), model_);
  const auto time = fs::last_write_time(model_);
  const auto middle = static_cast<std::streamoff>(fs::file_size(model_) / 2);
  ASSERT_GT(middle, 64 * 1024);
  const std::string before = key();
  std::fstream file(model_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(middle);
  const int byte = file.get();
  file.seekp(middle);
  file.put(static_cast<char>(byte ^ 1));
  file.close();
  fs::last_write_time(model_, time);
  EXPECT_NE(key(), before);
}

}  // namespace
}  // namespace tenon
