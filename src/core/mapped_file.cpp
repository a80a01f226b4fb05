// SPDX-License-Identifier: Apache-2.0
#include "core/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/check.h"

namespace tenon {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    const int reason = errno;
    fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be opened: {}",
         path.string(), std::strerror(reason));
  }
  struct Closer {
    int file;
    ~Closer() { ::close(file); }
  } closer{file};
  struct stat status {};
  TENON_CHECK(::fstat(file, &status) == 0, ErrorCode::kIo, "{}: {}", path.string(),
              std::strerror(errno));
  TENON_CHECK(S_ISREG(status.st_mode), ErrorCode::kInvalidArgument,
              "{}: expected a file, got something else (a directory?)", path.string());
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  if (status.st_size > 0) {
    const auto size = static_cast<std::size_t>(status.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    TENON_CHECK(address != MAP_FAILED, ErrorCode::kIo, "{}: cannot be mapped: {}", path.string(),
                std::strerror(errno));
    mapped->bytes_ = {static_cast<const std::byte*>(address), size};
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

std::string_view MappedFile::text() const {
  return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
}

std::span<const std::byte> MappedFile::part(std::uint64_t offset, std::uint64_t length,
                                            std::string_view what) const {
  TENON_CHECK(offset <= bytes_.size() && length <= bytes_.size() - offset, ErrorCode::kCorrupt,
              "{}: {} lies at bytes {} + {}, but the file ends at {}; it is cut short or damaged",
              path_.string(), what, offset, length, bytes_.size());
  return bytes_.subspan(offset, length);
}

void MappedFile::drop(std::span<const std::byte> part) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace tenon
