// Tactics: what is measured and chosen, the time it may take, and the file: kept, damaged, stale,
// of others. The clock and the device are made up.
// SPDX-License-Identifier: Apache-2.0
#include "backends/tactics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "core/file.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Times by candidate's name; each takes that long on the made-up clock too, in seconds.
class FakeTimer final : public TacticTimer {
 public:
  explicit FakeTimer(std::map<std::string, double> times) : times_(std::move(times)) {}
  double measure(const TacticProblem& problem, std::size_t candidate) override {
    const std::string& name = problem.candidates.at(candidate);
    asked.push_back(fmt::format("{} {}", problem.rows, name));
    const auto found = times_.find(name);
    if (found == times_.end()) fail(ErrorCode::kInternal, "{} does not run", name);
    now_ += found->second;
    return found->second;
  }
  double now() override { return now_; }

  std::vector<std::string> asked;

 private:
  std::map<std::string, double> times_;
  double now_ = 100;
};

TacticProblem problem(std::int64_t rows, std::vector<std::string> candidates) {
  return {"linear", rows, std::move(candidates)};
}

TEST(Tactics, TheFastestIsTaken) {
  FakeTimer timer({{"a", 2}, {"b", 1}, {"c", 1.5}});
  const std::vector problems = {problem(8, {"a", "b", "c"})};
  const TacticSearch search = choose_tactics(problems, {}, timer, 60);
  EXPECT_THAT(search.chosen, ElementsAre(1));
  ASSERT_EQ(search.measured.size(), 1U);
  EXPECT_EQ(search.measured.at({"linear", 8}), (Tactic{"b", 1, 2}));
  EXPECT_EQ(search.left, 0);
  EXPECT_DOUBLE_EQ(search.seconds, 4.5);
}

TEST(Tactics, TheFirstStaysWhereOthersAreHardlyFaster) {
  FakeTimer timer({{"a", 1.0}, {"b", 1.0 - kTacticMargin + 0.001}});
  const std::vector problems = {problem(8, {"a", "b"})};
  const TacticSearch search = choose_tactics(problems, {}, timer, 60);
  EXPECT_THAT(search.chosen, ElementsAre(0));
  EXPECT_EQ(search.measured.at({"linear", 8}).name, "a");
}

TEST(Tactics, WhatDoesNotRunIsLeftOut) {
  FakeTimer timer({{"a", 2}, {"c", 1}});
  const std::vector problems = {problem(8, {"a", "b", "c"}), problem(16, {"b", "a"})};
  const TacticSearch search = choose_tactics(problems, {}, timer, 60);
  EXPECT_THAT(search.chosen, ElementsAre(2, 0));
  // The second problem's first candidate fails: nothing is kept of it.
  EXPECT_EQ(search.measured.size(), 1U);
}

TEST(Tactics, ASingleCandidateIsNotMeasured) {
  FakeTimer timer({});
  const std::vector problems = {problem(8, {"a"}), problem(16, {})};
  EXPECT_THAT(choose_tactics(problems, {}, timer, 60).chosen, ElementsAre(0, 0));
  EXPECT_THAT(timer.asked, IsEmpty());
}

TEST(Tactics, NothingBeginsAfterTheTimeAllowed) {
  FakeTimer timer({{"a", 2}, {"b", 1}});
  const std::vector problems = {problem(1, {"a", "b"}), problem(2, {"a", "b"}),
                                problem(4, {"a", "b"})};
  const TacticSearch search = choose_tactics(problems, {}, timer, 4);
  EXPECT_THAT(search.chosen, ElementsAre(1, 1, 0));
  EXPECT_EQ(search.left, 1);
  // The next load goes on where this one stopped.
  FakeTimer next({{"a", 2}, {"b", 1}});
  const TacticSearch rest = choose_tactics(problems, search.measured, next, 4);
  EXPECT_THAT(rest.chosen, ElementsAre(1, 1, 1));
  EXPECT_EQ(rest.known, 2);
  EXPECT_THAT(next.asked, ElementsAre("4 a", "4 b"));
  EXPECT_EQ(choose_tactics(problems, {}, next, 0).left, 3);
}

TEST(Tactics, KnownOnesAreNotMeasuredAgainButWhereTheyAreNoCandidates) {
  FakeTimer timer({{"a", 1}, {"b", 2}});
  const TacticTable known = {
      {{"linear", 1}, {"b", 9, 9}}, {{"linear", 2}, {"gone", 1, 1}}, {{"other", 4}, {"b", 1, 1}}};
  const std::vector problems = {problem(1, {"a", "b"}), problem(2, {"a", "b"}),
                                problem(4, {"a", "b"})};
  const TacticSearch search = choose_tactics(problems, known, timer, 60);
  EXPECT_THAT(search.chosen, ElementsAre(1, 0, 0));
  EXPECT_EQ(search.known, 1);
  EXPECT_THAT(timer.asked, ElementsAre("2 a", "2 b", "4 a", "4 b"));
}

const TacticIdentity kIdentity{.device = "NVIDIA H200 sm_90 132 multiprocessors",
                               .libraries = "cuBLASLt 13.1.0, driver 13000"};
const TacticTable kTable = {
    {{"linear_stream_bf16 bfloat16 x [6, 4] \"quoted\"", 8}, {"joined 00ff", 12.5, 20.25}},
    {{"linear_stream_bf16 bfloat16 x [6, 4] \"quoted\"", 16}, {"cublaslt", 13, 13}}};

TEST(Tactics, TheFileGivesBackWhatWasWritten) {
  EXPECT_EQ(parse_tactics(print_tactics(kTable, kIdentity), "file", kIdentity), kTable);
  EXPECT_EQ(parse_tactics(print_tactics({}, kIdentity), "file", kIdentity), TacticTable{});
  EXPECT_EQ(kIdentity.file_name(), "nvidia_h200_sm_90_132_multiprocessors.json");
  EXPECT_EQ((TacticIdentity{.device = "../../etc/x", .libraries = ""}.file_name()), "etc_x.json");
  EXPECT_LE((TacticIdentity{.device = std::string(5000, 'x'), .libraries = ""}.file_name().size()),
            255U);
}

ErrorCode error_of(const std::string& text, const TacticIdentity& identity, std::string* why) {
  try {
    parse_tactics(text, "the file", identity);
  } catch (const Error& error) {
    *why = error.what();
    return error.code();
  }
  ADD_FAILURE() << "it was taken";
  return ErrorCode::kInternal;
}

TEST(Tactics, AnotherDevicesOrVersionsFileIsStale) {
  const std::string text = print_tactics(kTable, kIdentity);
  TacticIdentity other = kIdentity;
  std::string why;
  other.device = "NVIDIA H100";
  EXPECT_EQ(error_of(text, other, &why), ErrorCode::kUnsupported);
  EXPECT_THAT(why, AllOf(HasSubstr("the file"), HasSubstr("H200"), HasSubstr("H100")));
  other = kIdentity;
  other.libraries = "cuBLASLt 13.2.0";
  EXPECT_EQ(error_of(text, other, &why), ErrorCode::kUnsupported);
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string copy = text;
    copy.replace(copy.find(from), from.size(), to);
    return copy;
  };
  EXPECT_EQ(error_of(changed("\"tenon ", "\"tenon 99."), kIdentity, &why), ErrorCode::kUnsupported);
  EXPECT_EQ(error_of(changed("\"version\": 1", "\"version\": 2"), kIdentity, &why),
            ErrorCode::kUnsupported);
  EXPECT_EQ(error_of(changed("tenon-tactics", "tenon-engine"), kIdentity, &why),
            ErrorCode::kCorrupt);
  EXPECT_EQ(error_of(changed("\"rows\": 8", "\"rows\": 0"), kIdentity, &why), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of(changed("\"us\": 12.5", "\"us\": -1"), kIdentity, &why), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of(changed("\"us\": 12.5", "\"us\": \"x\""), kIdentity, &why),
            ErrorCode::kCorrupt);
}

// Whatever a byte becomes: an error of Tenon, or a table of names that are looked up.
TEST(Tactics, DamageIsAnErrorOrJustOtherNames) {
  const std::string text = print_tactics(kTable, kIdentity);
  int refused = 0;
  const auto take = [&](const std::string& damaged) {
    try {
      parse_tactics(damaged, "file", kIdentity);
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported)
          << error.what();
    }
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    take(text.substr(0, i));
    for (const char byte : {'\0', '"', '9', '{', '\xFF'}) {
      std::string damaged = text;
      damaged[i] = byte;
      take(damaged);
    }
  }
  EXPECT_GT(refused, static_cast<int>(text.size()));
}

class TacticFiles : public testing::Test {
 protected:
  TacticFiles() {
    root_ = fs::path(testing::TempDir()) / fmt::format("tenon_tactics_{}", ::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_);
    options_.folders = {(root_ / "engine" / "tactics").string(), (root_ / "cache").string()};
  }
  ~TacticFiles() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  fs::path file(std::size_t folder) const {
    return fs::path(options_.folders[folder]) / kIdentity.file_name();
  }

  fs::path root_;
  TacticOptions options_;
};

TEST_F(TacticFiles, AreKeptInTheFirstFolderAndReadFromThere) {
  EXPECT_EQ(load_tactics(options_, kIdentity), TacticTable{});
  keep_tactics(options_, kIdentity, kTable);
  EXPECT_TRUE(fs::exists(file(0)));
  EXPECT_FALSE(fs::exists(file(1)));
  EXPECT_EQ(load_tactics(options_, kIdentity), kTable);
  // More is added; what was measured again is replaced.
  TacticTable more = {{{"new", 1}, {"a", 1, 1}}, {kTable.begin()->first, {"b", 2, 3}}};
  keep_tactics(options_, kIdentity, more);
  TacticTable all = kTable;
  for (const auto& [key, tactic] : more) all[key] = tactic;
  EXPECT_EQ(load_tactics(options_, kIdentity), all);
}

TEST_F(TacticFiles, GoToTheNextFolderWhereTheFirstCannotBeWritten) {
  std::ofstream(root_ / "engine") << "a file where a folder would be";
  keep_tactics(options_, kIdentity, kTable);
  EXPECT_TRUE(fs::exists(file(1)));
  EXPECT_EQ(load_tactics(options_, kIdentity), kTable);
}

TEST_F(TacticFiles, NoPlaceIsNoError) {
  std::ofstream(root_ / "engine") << "";
  std::ofstream(root_ / "cache") << "";
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(keep_tactics(options_, kIdentity, kTable));
  EXPECT_EQ(load_tactics(options_, kIdentity), TacticTable{});
  options_.folders.clear();
  EXPECT_NO_THROW(keep_tactics(options_, kIdentity, kTable));
  testing::internal::GetCapturedStderr();
}

TEST_F(TacticFiles, DamagedAndStaleOnesAreReplaced) {
  TacticIdentity older = kIdentity;
  older.libraries = "cuBLASLt 12.9.0";
  keep_tactics(options_, older, {{{"old", 1}, {"a", 1, 1}}});
  EXPECT_EQ(load_tactics(options_, kIdentity), TacticTable{});
  keep_tactics(options_, kIdentity, kTable);
  EXPECT_EQ(load_tactics(options_, kIdentity), kTable);
  write_file_atomically(file(0), "{\"format\": \"tenon-tac");
  EXPECT_EQ(load_tactics(options_, kIdentity), TacticTable{});
  // A damaged first one does not hide a good second one.
  TacticOptions second = options_;
  second.folders.erase(second.folders.begin());
  keep_tactics(second, kIdentity, kTable);
  EXPECT_EQ(load_tactics(options_, kIdentity), kTable);
  keep_tactics(options_, kIdentity, {{{"new", 1}, {"a", 1, 1}}});
  EXPECT_EQ(load_tactics(options_, kIdentity).size(), 1U);
}

}  // namespace
}  // namespace tenon
