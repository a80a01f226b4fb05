// Files, shapes, mapping, names, UTF-8, ledger, threads.
// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>

#include "core/file.h"
#include "core/hash.h"
#include "core/ledger.h"
#include "core/mapped_file.h"
#include "core/mapping.h"
#include "core/nearest_name.h"
#include "core/shape.h"
#include "core/staged_directory.h"
#include "core/thread_pool.h"
#include "core/utf8.h"
#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

class TemporaryDirectory : public ::testing::Test {
 protected:
  TemporaryDirectory() {
    std::string name = (fs::temp_directory_path() / "tenon-core-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() override { fs::remove_all(path_); }
  fs::path path_;
};

using Files = TemporaryDirectory;

TEST_F(Files, AppearWholeOrNotAtAll) {
  write_file_atomically(path_ / "a", "one");
  EXPECT_EQ(read_file(path_ / "a"), "one");
  {
    StagedDirectory staged(path_ / "d");
    write_file_atomically(staged.path() / "x", "1");
    EXPECT_FALSE(fs::exists(path_ / "d"));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(path_), {}), 1) << "the staging is removed";
  for (const char* content : {"1", "2"}) {
    StagedDirectory staged(path_ / "d");
    write_file_atomically(staged.path() / "x", content);
    staged.commit();
    EXPECT_EQ(read_file(path_ / "d" / "x"), content);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(path_), {}), 2);
}

TEST_F(Files, DevicesPipesAndLinksStayWhatTheyAre) {
  const fs::path pipe = path_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  write_file_atomically(pipe, "through");
  char text[16] = {};
  EXPECT_EQ(::read(reader, text, sizeof(text)), 7);
  EXPECT_STREQ(text, "through");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));

  write_file_atomically(path_ / "a", "one");
  fs::create_symlink("a", path_ / "link");
  write_file_atomically(path_ / "link", "two");
  EXPECT_TRUE(fs::is_symlink(path_ / "link"));
  EXPECT_EQ(read_file(path_ / "a"), "two");
}

TEST_F(Files, WhatCannotBeWrittenIsNamedAsItWasGiven) {
  const auto message = [](const fs::path& path) -> std::string {
    try {
      write_file_atomically(path, "x");
    } catch (const Error& error) {
      return error.what();
    }
    return "written";
  };
  EXPECT_EQ(message(path_), path_.string() + ": it is a directory; expected the name of a file");
  const fs::path lost = path_ / "none" / "a";
  EXPECT_EQ(message(lost), lost.string() + ": cannot create it: No such file or directory");
  EXPECT_TRUE(fs::is_empty(path_));
}

TEST_F(Files, MappedPartsAreCheckedAgainstTheEnd) {
  write_file_atomically(path_ / "a", "0123456789");
  const auto file = MappedFile::open(path_ / "a");
  EXPECT_EQ(file->part(2, 3, "part").size(), 3U);
  EXPECT_THROW(file->part(8, 3, "part"), Error);
  EXPECT_THROW(file->part(11, 0, "part"), Error);
  EXPECT_THROW(file->part(1, UINT64_MAX, "part"), Error);
  EXPECT_THROW(MappedFile::open(path_), Error) << "a directory";
  EXPECT_THROW(MappedFile::open(path_ / "none"), Error);
  write_file_atomically(path_ / "empty", "");
  EXPECT_TRUE(MappedFile::open(path_ / "empty")->bytes().empty());
}

TEST_F(Files, NamesFromFilesStayBelowTheirDirectory) {
  EXPECT_EQ(confined_path(path_, "a/b", "index"), path_ / "a/b");
  for (const char* name : {"", "/etc/passwd", "../x", "a/../../x", ".."})
    EXPECT_THROW(confined_path(path_, name, "index"), Error) << name;
}

TEST(Shapes, RefuseOverflow) {
  EXPECT_EQ(element_count({2, 3, 4}), 24);
  EXPECT_EQ(element_count({0, INT64_MAX, INT64_MAX}), 0);
  EXPECT_THROW(element_count({INT64_MAX, 2}), Error);
  EXPECT_THROW(element_count({-1}), Error);
  EXPECT_THROW(byte_count(DataType::kFloat64, {INT64_MAX / 4}), Error);
}

TEST(Mapping, CutsEvenlyAndChecksSizes) {
  EXPECT_EQ(even_cut(10, 3, 0), (Range{0, 4}));
  EXPECT_EQ(even_cut(10, 3, 1), (Range{4, 7}));
  EXPECT_EQ(even_cut(10, 3, 2), (Range{7, 10}));
  EXPECT_EQ(checked_mapping({.tp_size = 3, .pp_size = 2}).world_size, 6);
  EXPECT_THROW(checked_mapping({.world_size = 5, .tp_size = 2}), Error);
  EXPECT_THROW(checked_mapping({.tp_size = 0}), Error);
  EXPECT_THROW(checked_mapping({.cp_size = 2}), Error);
  const RankPlace place = place_of({.world_size = 6, .tp_size = 3, .pp_size = 2}, 4);
  EXPECT_EQ(place.tp, 1);
  EXPECT_EQ(place.pp, 1);
}

TEST(NearestName, FindsLikelySlipsAlone) {
  const std::string names[] = {"--model_dir", "--max_seq_len", "--threads"};
  EXPECT_EQ(nearest_name("--model_dri", names), "--model_dir");
  EXPECT_EQ(nearest_name("--model-dir", names), "--model_dir");
  EXPECT_EQ(nearest_name("--bananas", names), "");
}

TEST(Utf8, ReplacesAsPythonDoes) {
  // bytes.decode("utf-8", errors="replace") of Python 3.11.
  EXPECT_EQ(utf8::replace_invalid("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(utf8::replace_invalid("\xE2\x82"), "\uFFFD");
  EXPECT_EQ(utf8::replace_invalid("\xE2\x82x"), "\uFFFDx");
  EXPECT_EQ(utf8::replace_invalid("\xF0\x9F\x98\xE2\x82\xAC"), "\uFFFD€");
  EXPECT_EQ(utf8::replace_invalid("\xC0\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(utf8::replace_invalid("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(utf8::replace_invalid("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8, CompletePrefixNeverEndsInsideACharacter) {
  const std::string text = "aé€😀\xFF";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    const std::string part = text.substr(0, length);
    const std::size_t whole = utf8::complete_prefix(part);
    EXPECT_LE(whole, length);
    EXPECT_LT(length - whole, 4U);
    EXPECT_EQ(utf8::complete_prefix(part.substr(0, whole)), whole);
  }
  EXPECT_EQ(utf8::complete_prefix("ab\xE2\x82"), 2U);
  EXPECT_EQ(utf8::complete_prefix("ab\xFF"), 3U);
}

TEST(Ledger, ALimitSetLateMeetsTheWholePlan) {
  Ledger ledger("cpu");
  ledger.plan(MemoryKind::kWeights, "w", 60);
  ledger.plan(MemoryKind::kCache, "kv", 50);
  ledger.set_limit(110);
  EXPECT_NO_THROW(ledger.check());
  ledger.set_limit(109);
  EXPECT_THROW(ledger.check(), Error);
}

TEST(Ledger, RefusesAPlanAboveTheLimit) {
  Ledger ledger("cpu", 100);
  ledger.plan(MemoryKind::kWeights, "w", 60);
  ledger.draw(MemoryKind::kWeights, "w", 60);
  EXPECT_THROW(ledger.plan(MemoryKind::kCache, "kv", 50), Error);
  EXPECT_EQ(ledger.drawn(), 60);
  EXPECT_NE(ledger.print().find("weights"), std::string::npos);
}

TEST(Hash, DependsOnEveryByteAndOnBorders) {
  EXPECT_NE(Hasher().add(std::string_view("ab")).add(std::string_view("c")).hex(),
            Hasher().add(std::string_view("a")).add(std::string_view("bc")).hex());
  EXPECT_EQ(Hasher().add(std::string_view("ab")).hex(), Hasher().add(std::string_view("ab")).hex());
}

class Pool : public ::testing::TestWithParam<int> {};

TEST_P(Pool, DoesEverythingOnceAndPassesExceptionsOn) {
  ThreadPool pool({.threads = GetParam(), .pin = false});
  EXPECT_EQ(pool.size(), GetParam());
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> hits(static_cast<std::size_t>(round));
    pool.run(round, [&](std::int64_t i, int worker) {
      EXPECT_LT(worker, GetParam());
      ++hits[static_cast<std::size_t>(i)];
    });
    for (const auto& hit : hits) ASSERT_EQ(hit, 1);
  }
  EXPECT_THROW(pool.run(50,
                        [](std::int64_t i, int) {
                          if (i == 20) throw Error(ErrorCode::kInternal, "body");
                        }),
               Error);
  std::atomic<std::int64_t> sum{0};
  pool.run_ranges(1000, 10, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) sum += i;
  });
  EXPECT_EQ(sum, 499500);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Pool, ::testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace tenon
