// SPDX-License-Identifier: Apache-2.0
#include "core/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "core/check.h"
#include "core/mapped_file.h"

namespace tenon {
namespace fs = std::filesystem;
namespace {

const char* remedy(int reason) {
  switch (reason) {
    case ENOSPC:
    case EDQUOT: return "; free some space or choose another place";
    case EACCES:
    case EPERM:
    case EROFS: return "; choose a place you may write to";
    default: return "";
  }
}

[[noreturn]] void fail_io(const fs::path& path, const char* doing, int reason) {
  fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot {}: {}{}",
       path.string(), doing, std::strerror(reason), remedy(reason));
}

}  // namespace

std::string read_file(const fs::path& path, std::uint64_t max_bytes) {
  const auto mapped = MappedFile::open(path);
  TENON_CHECK(mapped->bytes().size() <= max_bytes, ErrorCode::kCorrupt,
              "{}: {} bytes, more than the {} expected of such a file", path.string(),
              mapped->bytes().size(), max_bytes);
  return std::string(mapped->text());
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  TENON_CHECK(there.type() != fs::file_type::directory, ErrorCode::kInvalidArgument,
              "{}: it is a directory; expected the name of a file", path.string());
  if (fs::exists(there) && !fs::is_regular_file(there)) {  // a device or a pipe stays what it is
    FileWriter writer(path);
    writer.write(content);
    return writer.close();
  }
  // Of a link, what it leads to is replaced.
  fs::path target = fs::is_symlink(path, error) ? fs::canonical(path, error) : path;
  if (error) target = path;
  const fs::path staging = target.string() + ".partial-" + std::to_string(::getpid());
  try {
    FileWriter writer(staging, path);
    writer.write(content);
    writer.close();
    fs::rename(staging, target, error);
    if (error) fail_io(path, "put it in place", error.value());
  } catch (...) {
    fs::remove(staging, error);
    throw;
  }
}

FileWriter::FileWriter(const fs::path& path) : FileWriter(path, path) {}

FileWriter::FileWriter(const fs::path& path, const fs::path& named) : path_(named) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_io(path_, "create it", errno);
}

FileWriter::~FileWriter() {
  if (file_ >= 0) ::close(file_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      fail_io(path_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    position_ += static_cast<std::uint64_t>(count);
  }
}

void FileWriter::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void FileWriter::close() {
  const int file = std::exchange(file_, -1);
  if (::close(file) != 0) fail_io(path_, "finish writing", errno);
}

bool FileLock::acquire(const fs::path& path, int operation) {
  while (true) {
    file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) fail_io(path, "create the lock", errno);
    while (::flock(file_, operation) != 0) {
      if (errno == EINTR) continue;
      const int reason = errno;
      ::close(std::exchange(file_, -1));
      if (reason == EWOULDBLOCK) return false;
      fail_io(path, "take the lock", reason);
    }
    // The holder before may have removed the file: then the lock is on nothing that others see.
    struct stat mine {};
    struct stat there {};
    if (::fstat(file_, &mine) == 0 && ::stat(path.c_str(), &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev)
      return true;
    ::close(std::exchange(file_, -1));
  }
}

FileLock::FileLock(const fs::path& path, Kind kind) {
  acquire(path, kind == Kind::kShared ? LOCK_SH : LOCK_EX);
}

std::optional<FileLock> FileLock::try_exclusive(const fs::path& path) {
  FileLock lock;
  if (!lock.acquire(path, LOCK_EX | LOCK_NB)) return std::nullopt;
  return lock;
}

bool FileLock::share() {
  while (::flock(file_, LOCK_SH) != 0)
    TENON_CHECK(errno == EINTR, ErrorCode::kIo, "cannot share a lock: {}", std::strerror(errno));
  struct stat mine {};
  return ::fstat(file_, &mine) == 0 && mine.st_nlink > 0;
}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);
}

fs::path confined_path(const fs::path& directory, std::string_view name, std::string_view where) {
  const fs::path relative(name);
  bool escapes = name.empty() || relative.is_absolute() || name.find('\0') != name.npos;
  for (const fs::path& part : relative) escapes |= part == "..";
  TENON_CHECK(!escapes, ErrorCode::kCorrupt,
              "{}: the file name \"{}\" leads out of its directory; refused", where, name);
  return directory / relative;
}

}  // namespace tenon
