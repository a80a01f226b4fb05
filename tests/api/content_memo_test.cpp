// Hashes of files, remembered; the key made of them.
// SPDX-License-Identifier: Apache-2.0
#include "api/content_memo.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "core/file.h"
#include "core/hash.h"
#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::nanoseconds kAtOnce{0};

class Memo : public ::testing::Test {
 protected:
  Memo() {
    std::string name = (fs::temp_directory_path() / "tenon-memo-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    model_ = folder_ / "model";
    file_ = folder_ / "memo";
    write_file_atomically(model_, "0123456789");
  }
  ~Memo() override { fs::remove_all(folder_); }

  /// Hashes the model with a memo of its own, as a process would; true where it was read.
  bool reads(std::chrono::nanoseconds settled = kAtOnce) const {
    ContentMemo memo(file_, settled);
    EXPECT_EQ(memo.hash(model_), hash_file(model_));
    memo.save();
    return memo.files_read() > 0;
  }
  /// Overwrites in place: the same inode, size and time of modification.
  void overwrite(const std::string& content) const {
    const auto time = fs::last_write_time(model_);
    std::ofstream(model_, std::ios::in | std::ios::out | std::ios::binary) << content;
    fs::last_write_time(model_, time);
  }

  fs::path folder_, model_, file_;
};

TEST_F(Memo, ReadsAFileOnce) {
  EXPECT_TRUE(reads());
  EXPECT_FALSE(reads());
}

TEST_F(Memo, SeesAChangeThatKeepsSizeAndTime) {
  EXPECT_TRUE(reads());
  ::usleep(20'000);  // past the resolution of the file system's clock
  overwrite("0123x56789");
  EXPECT_TRUE(reads());
  EXPECT_FALSE(reads());
}

TEST_F(Memo, DoesNotTrustAFileThatWasJustChanged) {
  EXPECT_TRUE(reads(std::chrono::seconds(60)));
  EXPECT_FALSE(fs::exists(file_));
  EXPECT_TRUE(reads(std::chrono::seconds(60)));
}

TEST_F(Memo, ADamagedOneIsRemade) {
  EXPECT_TRUE(reads());
  const std::string whole = read_file(file_);
  const std::string swapped = [&] {
    std::string text = whole;
    const std::size_t digit = text.find('\n', text.find('\n') + 1) - 1;  // of the model's hash
    text[digit] = text[digit] == '0' ? '1' : '0';
    return text;
  }();
  for (const std::string& damaged :
       {std::string(), std::string("\n"), std::string("tenon content hashes 1\n"), swapped,
        whole.substr(0, whole.size() / 2), whole + "x", std::string(4096, '\xff')}) {
    write_file_atomically(file_, damaged);
    EXPECT_TRUE(reads()) << damaged;
    EXPECT_EQ(read_file(file_), whole);
  }
}

TEST_F(Memo, IsBoundedAndForgetsTheOldest) {
  ContentMemo memo(file_, kAtOnce);
  const auto name = [&](std::size_t i) { return folder_ / std::to_string(i); };
  for (std::size_t i = 0; i <= ContentMemo::kMaxEntries; ++i) {
    write_file_atomically(name(i), "x");
    memo.hash(name(i));
  }
  memo.save();
  ContentMemo again(file_, kAtOnce);
  again.hash(name(1));
  EXPECT_EQ(again.files_read(), 0);
  again.hash(name(0));
  EXPECT_EQ(again.files_read(), 1);
}

TEST_F(Memo, TwoThatSaveKeepBoth) {
  write_file_atomically(folder_ / "other", "other");
  ContentMemo one(file_, kAtOnce);
  ContentMemo two(file_, kAtOnce);
  one.hash(model_);
  two.hash(folder_ / "other");
  one.save();
  two.save();
  ContentMemo both(file_, kAtOnce);
  both.hash(model_);
  both.hash(folder_ / "other");
  EXPECT_EQ(both.files_read(), 0);
}

TEST_F(Memo, AMissingFileIsAnError) {
  ContentMemo memo(file_, kAtOnce);
  EXPECT_THROW(memo.hash(folder_ / "none"), Error);
}

}  // namespace
}  // namespace tenon
