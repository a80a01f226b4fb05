// SPDX-License-Identifier: Apache-2.0
#include "backends/swap_file.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace tenon {
namespace {

// pread or pwrite until all is done. `what`: "read", "written".
template <class Call, class Byte>
void transfer(const Call& call, int file, Byte* at, std::int64_t bytes, std::int64_t offset,
              const std::string& directory, const char* what) {
  while (bytes > 0) {
    const ssize_t count = call(file, at, static_cast<std::size_t>(bytes), offset);
    if (count < 0 && errno == EINTR) continue;
    TENON_CHECK(count > 0, ErrorCode::kIo, "[kv cache] swapped blocks in {} cannot be {}: {}",
                directory, what, count < 0 ? std::strerror(errno) : "the file ends early");
    at += count;
    bytes -= count;
    offset += count;
  }
}

}  // namespace

SwapFile::SwapFile(std::int64_t blocks, std::int64_t block_bytes, const std::string& directory)
    : blocks_(blocks), block_bytes_(block_bytes), directory_(directory) {
  if (blocks == 0) return;
  TENON_CHECK(!directory_.empty(), ErrorCode::kInvalidArgument,
              "[kv cache] {} blocks are to be swapped to disk, but no directory is named; set "
              "disk_cache_directory, or disk_cache_bytes to 0",
              blocks);
  std::string path = directory_ + "/tenon-kv-cache-XXXXXX";
  file_ = ::mkostemp(path.data(), O_CLOEXEC);
  TENON_CHECK(file_ >= 0, ErrorCode::kIo,
              "[kv cache] no file for swapped blocks can be made in {}: {}; name another "
              "disk_cache_directory",
              directory_, std::strerror(errno));
  ::unlink(path.c_str());
  const std::int64_t bytes = blocks * block_bytes;
  int error = 0;
  do error = ::posix_fallocate(file_, 0, bytes);
  while (error == EINTR);
  if (error == 0) return;
  ::close(std::exchange(file_, -1));
  fail(ErrorCode::kIo,
       "[kv cache] {} has no room for {} bytes of swapped blocks: {}; lower disk_cache_bytes or "
       "name another disk_cache_directory",
       directory_, bytes, std::strerror(error));
}

SwapFile::~SwapFile() {
  if (file_ >= 0) ::close(file_);
}

std::int64_t SwapFile::at(std::int64_t block, std::int64_t offset, std::int64_t bytes) const {
  TENON_ASSERT(block >= 0 && block < blocks_ && offset >= 0 && offset + bytes <= block_bytes_);
  return block * block_bytes_ + offset;
}

void SwapFile::store(std::int64_t block, std::int64_t offset, const std::byte* source,
                     std::int64_t bytes) const {
  transfer(::pwrite, file_, source, bytes, at(block, offset, bytes), directory_, "written");
}

void SwapFile::load(std::int64_t block, std::int64_t offset, std::byte* destination,
                    std::int64_t bytes) const {
  transfer(::pread, file_, destination, bytes, at(block, offset, bytes), directory_, "read");
}

}  // namespace tenon
