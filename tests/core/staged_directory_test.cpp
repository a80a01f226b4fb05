// Directories that appear whole, and what killed builds leave beside them.
// SPDX-License-Identifier: Apache-2.0
#include "core/staged_directory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>

#include "core/file.h"
#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

class Staged : public ::testing::Test {
 protected:
  Staged() {
    std::string name = (fs::temp_directory_path() / "tenon-staged-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Staged() override { fs::remove_all(folder_); }

  /// Runs `body` in a process that then dies as if killed: no destructor runs.
  template <class Body>
  static void in_killed_process(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        body();
      } catch (...) {
        ::_exit(1);
      }
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
  /// A build of "d" that dies before its commit().
  void leave() const {
    in_killed_process([this] {
      auto* staged = new StagedDirectory(folder_ / "d");
      write_file_atomically(staged->path() / "x", "half");
    });
  }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (fs::directory_iterator entry(folder_), end; entry != end; ++entry)
      all.insert(entry->path().filename().string());
    return all;
  }
  /// The only entry that is a build under way, or was.
  fs::path leftover() const {
    const std::set<std::string> all = names();
    for (const std::string& name : all)
      if (name.starts_with("d.partial-")) return folder_ / name;
    return {};
  }
  void build(const std::string& content) const {
    StagedDirectory staged(folder_ / "d");
    write_file_atomically(staged.path() / "x", content);
    staged.commit();
  }

  fs::path folder_;
};

using Names = std::set<std::string>;

TEST_F(Staged, WhatAKilledBuildLeftGoesWithTheNext) {
  leave();
  EXPECT_FALSE(fs::exists(folder_ / "d"));
  ASSERT_TRUE(fs::exists(leftover() / "new" / "x"));
  leave();
  build("whole");
  EXPECT_EQ(names(), Names{"d"});
  EXPECT_EQ(read_file(folder_ / "d" / "x"), "whole");
}

TEST_F(Staged, ARelativeDestinationAndOneWithASlash) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  leave();
  build("whole");
  for (const char* name : {"d", "d/"}) {
    StagedDirectory staged{fs::path(name)};
    write_file_atomically(staged.path() / "x", name);
    staged.commit();
    EXPECT_EQ(read_file(folder_ / "d" / "x"), name);
    leave();
    remove_staging_leftovers(name);
    EXPECT_EQ(names(), Names{"d"});
  }
  fs::current_path(before);
}

TEST_F(Staged, ABuildThatGoesOnIsLeftAlone) {
  StagedDirectory other(folder_ / "d");
  write_file_atomically(other.path() / "x", "other");
  in_killed_process([this] { build("first"); });
  build("second");
  EXPECT_EQ(read_file(other.path() / "x"), "other");
  other.commit();
  EXPECT_EQ(read_file(folder_ / "d" / "x"), "other");
  EXPECT_EQ(names(), Names{"d"});
}

TEST_F(Staged, AKillAfterTheExchangeLeavesNothingForGood) {
  build("old");
  leave();
  const fs::path there = leftover();
  fs::rename(folder_ / "d", folder_ / "swap");
  fs::rename(there / "new", folder_ / "d");
  fs::rename(folder_ / "swap", there / "new");  // as the kernel exchanges the two
  build("next");
  EXPECT_EQ(names(), Names{"d"});
}

TEST_F(Staged, AnOldDirectoryThatWasMovedAwayComesBack) {
  build("old");
  leave();
  fs::rename(folder_ / "d", leftover() / "old");
  {
    const StagedDirectory fails(folder_ / "d");
    EXPECT_EQ(read_file(folder_ / "d" / "x"), "old");
  }
  EXPECT_EQ(names(), Names{"d"});
  EXPECT_EQ(read_file(folder_ / "d" / "x"), "old");
}

TEST_F(Staged, WhatIsNotOfOurOwnMakingStays) {
  fs::create_directories(folder_ / "d.partial-1" / "new");  // no owner's file
  fs::create_directories(folder_ / "d.partial-notes");      // no number
  fs::create_directories(folder_ / "e.partial-1" / "new");  // of another destination
  write_file_atomically(folder_ / "d.partial-2", "a file");
  fs::create_directories(folder_ / "d.partial-3" / "new");
  write_file_atomically(folder_ / "d.partial-3" / "owner", "someone's own text\n");
  fs::create_directories(folder_ / "d.partial-4" / "new");  // made on another host
  write_file_atomically(folder_ / "d.partial-4" / "owner",
                        "tenon staging\nanother-host\n00000000-0000\n");
  leave();
  fs::create_directory_symlink(folder_ / "e.partial-1", folder_ / "d.partial-5");
  const fs::path mine = leftover();
  build("whole");
  EXPECT_EQ(names(), (Names{"d", "d.partial-1", "d.partial-notes", "e.partial-1", "d.partial-2",
                            "d.partial-3", "d.partial-4", "d.partial-5"}));
}

TEST_F(Staged, AFileThatSomeonePutThereStays) {
  leave();
  const fs::path there = leftover();
  write_file_atomically(there / "notes", "mine");
  build("whole");
  EXPECT_FALSE(fs::exists(there / "new"));
  EXPECT_EQ(read_file(there / "notes"), "mine");
}

TEST_F(Staged, ATakenNameIsNoReasonToFail) {
  const fs::path taken = folder_ / ("d.partial-" + std::to_string(::getpid()));
  fs::create_directory(taken);  // as by a process of another container with the same number
  build("whole");
  EXPECT_EQ(names(), (Names{"d", taken.filename().string()}));
}

TEST_F(Staged, AFolderThatCannotBeWrittenIsNamed) {
  write_file_atomically(folder_ / "file", "");
  try {
    const StagedDirectory staged(folder_ / "file" / "d");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find((folder_ / "file").string()), std::string::npos);
  }
}

}  // namespace
}  // namespace tenon
