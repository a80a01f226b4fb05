// Hashes of whole files, and locks between processes.
// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <optional>
#include <set>
#include <string>

#include "core/file.h"
#include "core/hash.h"
#include "tenon/error.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string name = (fs::temp_directory_path() / "tenon-hash-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~FileTest() override { fs::remove_all(folder_); }
  fs::path folder_;
};

using FileHash = FileTest;
using Lock = FileTest;

TEST_F(FileHash, EveryByteCountsWhateverTheThreads) {
  constexpr std::size_t kBytes = (std::size_t{40} << 20) + 12345;  // three pieces
  std::string content(kBytes, '\0');
  for (std::size_t i = 0; i < kBytes; i += 97) content[i] = static_cast<char>(i >> 7);
  std::set<std::string> hashes;
  const fs::path path = folder_ / "file";
  // Unchanged, then one bit of the first byte, borders of pieces, the middle, the last byte.
  for (const std::size_t at : {kBytes, std::size_t{0}, (std::size_t{16} << 20) - 1,
                               std::size_t{16} << 20, kBytes / 2, kBytes - 1}) {
    if (at < kBytes) content[at] = static_cast<char>(content[at] ^ 1);
    write_file_atomically(path, content);
    const std::string hash = hash_file(path, 1);
    EXPECT_EQ(hash.size(), 32U);
    EXPECT_EQ(hash_file(path, 3), hash);
    EXPECT_TRUE(hashes.insert(hash).second) << at;
    if (at < kBytes) content[at] = static_cast<char>(content[at] ^ 1);
  }
}

TEST_F(FileHash, SmallFilesAndWhatIsNoFile) {
  write_file_atomically(folder_ / "empty", "");
  write_file_atomically(folder_ / "zero", std::string(1, '\0'));
  EXPECT_NE(hash_file(folder_ / "empty"), hash_file(folder_ / "zero"));
  EXPECT_THROW(hash_file(folder_ / "none"), Error);
  EXPECT_THROW(hash_file(folder_), Error);
}

TEST_F(Lock, SharedOnesKeepAnExclusiveOneOut) {
  const fs::path path = folder_ / "lock";
  {
    const FileLock one(path, FileLock::Kind::kShared);
    const FileLock two(path, FileLock::Kind::kShared);
    EXPECT_FALSE(FileLock::try_exclusive(path).has_value());
  }
  std::optional<FileLock> alone = FileLock::try_exclusive(path);
  ASSERT_TRUE(alone.has_value());
  auto waits =
      std::async(std::launch::async, [&] { const FileLock shared(path, FileLock::Kind::kShared); });
  EXPECT_EQ(waits.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
  EXPECT_TRUE(alone->share());
  waits.get();
  EXPECT_FALSE(FileLock::try_exclusive(path).has_value());
  fs::remove(path);
  EXPECT_FALSE(alone->share()) << "nobody else can see that file";
}

}  // namespace
}  // namespace tenon
