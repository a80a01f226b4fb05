// SPDX-License-Identifier: Apache-2.0
#include "core/staged_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/file.h"
#include "core/log.h"

namespace tenon {
namespace fs = std::filesystem;
namespace {

constexpr const char* kOwner = "owner";
constexpr const char* kNew = "new";
constexpr const char* kOld = "old";
constexpr const char* kMagic = "tenon staging";
constexpr int kMaxCandidates = 1000;

/// This host: its name, and the id of its running kernel, which containers on it share.
struct Host {
  std::string name;
  std::string boot;
};

Host this_host() {
  Host host;
  char name[HOST_NAME_MAX + 1] = {};
  if (::gethostname(name, sizeof(name) - 1) == 0) host.name = name;
  std::ifstream boot("/proc/sys/kernel/random/boot_id");
  std::getline(boot, host.boot);
  return host;
}

/// What the owner's file says: kMagic, the host's name, its boot id, a line each.
std::string owner_text() {
  const Host host = this_host();
  return fmt::format("{}\n{}\n{}\n", kMagic, host.name, host.boot);
}

bool is_of_this_host(const std::string& text) {
  const Host host = this_host();
  const std::string head = std::string(kMagic) + "\n";
  if (!text.starts_with(head)) return false;
  const std::size_t end = text.find('\n', head.size());
  if (end == text.npos) return false;
  const std::string name = text.substr(head.size(), end - head.size());
  const std::string boot = text.substr(end + 1, text.find('\n', end + 1) - end - 1);
  return (!boot.empty() && boot == host.boot) || (!name.empty() && name == host.name);
}

/// NAME.partial-PID or NAME.partial-PID-N.
bool is_staging_name(const std::string& name, const std::string& prefix) {
  if (!name.starts_with(prefix) || name.size() == prefix.size()) return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()), name.end(),
                     [](char c) { return (c >= '0' && c <= '9') || c == '-'; });
}

std::string staging_prefix(const fs::path& destination) {
  return destination.filename().string() + ".partial-";
}

fs::path without_slash(fs::path path) {
  return path.filename().empty() ? path.parent_path() : path;
}

bool is_linked(int file) {
  struct stat status {};
  return ::fstat(file, &status) == 0 && status.st_nlink > 0;
}

/// What StagedDirectory puts there; the owner's file last, so that a removal that is killed too is
/// finished by the next. A file of someone else's keeps the outer directory.
void remove_staging(const fs::path& outer) {
  std::error_code ignored;
  fs::remove_all(outer / kNew, ignored);
  fs::remove_all(outer / kOld, ignored);
  if (fs::exists(outer / kNew, ignored) || fs::exists(outer / kOld, ignored)) return;
  fs::remove(outer / kOwner, ignored);
  fs::remove(outer, ignored);
}

void remove_leftover(const fs::path& outer, const fs::path& destination) {
  const int owner = ::open((outer / kOwner).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (owner < 0) return;
  std::error_code ignored;
  if (::flock(owner, LOCK_EX | LOCK_NB) == 0 && is_linked(owner)) {
    char text[512];
    const ssize_t count = ::pread(owner, text, sizeof(text), 0);
    // It is empty where its process died before the first byte; nothing else was made then.
    if (count == 0 ||
        (count > 0 && is_of_this_host(std::string(text, static_cast<std::size_t>(count))))) {
      if (fs::exists(outer / kOld, ignored) && !fs::exists(destination, ignored))
        fs::rename(outer / kOld, destination, ignored);
      remove_staging(outer);
      if (!fs::exists(outer, ignored))
        log::warn("{}: removed, a build that was killed had left it", outer.string());
    }
  }
  ::close(owner);
}

[[noreturn]] void fail_staging(const fs::path& path, const char* doing, int reason) {
  const bool place = reason == EACCES || reason == EPERM || reason == EROFS;
  fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot {}: {}{}",
       path.string(), doing, std::generic_category().message(reason),
       place                                  ? "; choose a place you may write to"
       : reason == ENOSPC || reason == EDQUOT ? "; free some space or choose another place"
                                              : "");
}

}  // namespace

void remove_staging_leftovers(const fs::path& destination) {
  const fs::path there = without_slash(destination);
  const fs::path folder = there.has_parent_path() ? there.parent_path() : fs::path(".");
  const std::string prefix = staging_prefix(there);
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (is_staging_name(entry->path().filename().string(), prefix) &&
        entry->symlink_status(ignored).type() == fs::file_type::directory)
      found.push_back(entry->path());
  }
  for (const fs::path& outer : found) remove_leftover(outer, there);
}

StagedDirectory::StagedDirectory(fs::path destination)
    : destination_(without_slash(std::move(destination))) {
  TENON_CHECK(!destination_.empty(), ErrorCode::kInvalidArgument,
              "the output directory has no name");
  remove_staging_leftovers(destination_);
  claim();
  staging_ = outer_ / kNew;
  std::error_code error;
  fs::create_directory(staging_, error);
  if (error) {
    release();
    fail_staging(staging_, "create the directory", error.value());
  }
}

/// A name may be taken: by another thread, by a process of another container with the same number.
void StagedDirectory::claim() {
  const std::string base = (destination_.parent_path() / staging_prefix(destination_)).string() +
                           std::to_string(::getpid());
  std::error_code error;
  if (destination_.has_parent_path()) fs::create_directories(destination_.parent_path(), error);
  if (error) fail_staging(destination_.parent_path(), "create the directory", error.value());
  for (int candidate = 0; candidate < kMaxCandidates; ++candidate) {
    outer_ = candidate == 0 ? base : base + "-" + std::to_string(candidate);
    const bool made = fs::create_directory(outer_, error);
    if (error && error != std::errc::file_exists)
      fail_staging(outer_, "create the directory", error.value());
    if (!made) continue;
    const fs::path owner = outer_ / kOwner;
    owner_ = ::open(owner.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (owner_ < 0 && errno == ENOENT) continue;  // a cleaner was faster
    if (owner_ < 0) {
      const int reason = errno;
      fs::remove(outer_, error);
      fail_staging(owner, "create it", reason);
    }
    // Where a file system has no locks, nobody can take this one: leftovers stay there.
    const bool lost = ::flock(owner_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (lost || !is_linked(owner_)) {
      ::close(std::exchange(owner_, -1));
      continue;
    }
    const std::string text = owner_text();
    if (::write(owner_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return;
    const int reason = errno;
    release();
    fail_staging(owner, "write", reason);
  }
  fail(ErrorCode::kIo, "{}: {} directories of that name and on are taken; remove them", base,
       kMaxCandidates);
}

void StagedDirectory::release() {
  remove_staging(outer_);
  if (owner_ >= 0) ::close(std::exchange(owner_, -1));
}

StagedDirectory::~StagedDirectory() {
  if (owner_ >= 0) release();
}

void StagedDirectory::commit() {
  std::error_code error;
  const fs::path old = outer_ / kOld;
  const bool replaces = fs::exists(destination_);
  // One step, so that the destination is whole at every moment; some file systems cannot.
  if (replaces && ::renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, destination_.c_str(),
                              RENAME_EXCHANGE) == 0) {
    release();
    return;
  }
  if (replaces) fs::rename(destination_, old, error);
  if (error) fail_staging(destination_, "move the old directory away", error.value());
  fs::rename(staging_, destination_, error);
  if (error) {
    std::error_code ignored;
    if (replaces) fs::rename(old, destination_, ignored);
    fail_staging(destination_, "move the finished directory into place", error.value());
  }
  release();
}

}  // namespace tenon
