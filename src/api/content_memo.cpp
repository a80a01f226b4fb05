// SPDX-License-Identifier: Apache-2.0
#include "api/content_memo.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/check.h"
#include "core/file.h"
#include "core/hash.h"

namespace tenon {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHeader = "tenon content hashes 1\n";
constexpr std::size_t kHashDigits = 32;
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 20;

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

struct stat status_of(const fs::path& path) {
  struct stat status {};
  TENON_CHECK(::stat(path.c_str(), &status) == 0,
              errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}", path.string(),
              std::strerror(errno));
  return status;
}

std::string identity_of(const struct stat& status) {
  return fmt::format("{} {} {} {} {}", status.st_dev, status.st_ino, status.st_size,
                     nanoseconds(status.st_mtim), nanoseconds(status.st_ctim));
}

}  // namespace

ContentMemo::ContentMemo(fs::path file, std::chrono::nanoseconds settled)
    : file_(std::move(file)), settled_(settled), entries_(read(file_)) {}

/// kHeader, a line an entry, and the hash of all of that as the last line.
std::vector<ContentMemo::Entry> ContentMemo::read(const fs::path& file) {
  std::string text;
  try {
    text = read_file(file, kMaxBytes);
  } catch (const Error&) {
    return {};
  }
  if (!text.starts_with(kHeader) || text.size() < kHeader.size() + kHashDigits + 1) return {};
  const std::size_t end = text.size() - kHashDigits - 1;
  const std::string_view body(text.data(), end);
  if (!body.ends_with('\n') || text.substr(end) != Hasher().add(body).hex() + "\n") return {};
  std::vector<Entry> entries;
  for (std::size_t begin = kHeader.size(); begin < end;) {
    const std::size_t next = text.find('\n', begin) + 1;
    const std::string line = text.substr(begin, next - begin - 1);
    if (line.size() <= kHashDigits) return {};
    entries.push_back(
        {line.substr(0, line.size() - kHashDigits - 1), line.substr(line.size() - kHashDigits)});
    begin = next;
  }
  return entries;
}

std::string ContentMemo::hash(const fs::path& path) {
  const struct stat before = status_of(path);
  Entry entry{identity_of(before), {}};
  const auto same = [&](const Entry& other) { return other.identity == entry.identity; };
  if (const auto found = std::ranges::find_if(entries_, same); found != entries_.end()) {
    entry.hash = found->hash;
  } else {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    entry.hash = hash_file(path);
    TENON_CHECK(identity_of(status_of(path)) == entry.identity, ErrorCode::kIo,
                "{}: it was changed while it was read; try again when it is whole", path.string());
    ++files_read_;
    bytes_read_ += before.st_size;
    const std::int64_t changed = std::max(nanoseconds(before.st_mtim), nanoseconds(before.st_ctim));
    if (std::chrono::nanoseconds(now).count() - changed < settled_.count()) return entry.hash;
    learnt_ = true;
  }
  std::erase_if(used_, same);
  used_.push_back(entry);
  return entry.hash;
}

void ContentMemo::save() {
  if (!learnt_) return;
  const FileLock lock(file_.string() + ".lock");
  std::vector<Entry> all = read(file_);
  std::erase_if(all, [&](const Entry& old) {
    return std::ranges::any_of(used_,
                               [&](const Entry& entry) { return entry.identity == old.identity; });
  });
  all.insert(all.end(), used_.begin(), used_.end());
  if (all.size() > kMaxEntries)
    all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(kMaxEntries));
  std::string text(kHeader);
  for (const Entry& entry : all) text += entry.identity + " " + entry.hash + "\n";
  write_file_atomically(file_, text + Hasher().add(std::string_view(text)).hex() + "\n");
  learnt_ = false;
}

}  // namespace tenon
