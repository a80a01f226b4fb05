// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/swap_space.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/tensor.h"

namespace tenon::cpu {
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

SwapSpace::SwapSpace(std::int64_t host_blocks, std::int64_t disk_blocks, std::int64_t block_bytes,
                     const std::string& directory)
    : host_blocks_(host_blocks),
      disk_blocks_(disk_blocks),
      block_bytes_(block_bytes),
      directory_(directory) {
  if (host_blocks_ > 0)
    memory_ = allocate_aligned(static_cast<std::size_t>(host_blocks_ * block_bytes_));
  if (disk_blocks_ > 0) open_file();
}

SwapSpace::~SwapSpace() {
  if (file_ >= 0) ::close(file_);
}

void SwapSpace::open_file() {
  TENON_CHECK(!directory_.empty(), ErrorCode::kInvalidArgument,
              "[kv cache] {} blocks are to be swapped to disk, but no directory is named; set "
              "disk_cache_directory, or disk_cache_bytes to 0",
              disk_blocks_);
  std::string path = directory_ + "/tenon-kv-cache-XXXXXX";
  file_ = ::mkostemp(path.data(), O_CLOEXEC);
  TENON_CHECK(file_ >= 0, ErrorCode::kIo,
              "[kv cache] no file for swapped blocks can be made in {}: {}; name another "
              "disk_cache_directory",
              directory_, std::strerror(errno));
  ::unlink(path.c_str());
  const std::int64_t bytes = disk_blocks_ * block_bytes_;
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

void SwapSpace::store(std::int64_t block, std::int64_t offset, const std::byte* source,
                      std::int64_t bytes) {
  TENON_ASSERT(block >= 0 && block < blocks() && offset + bytes <= block_bytes_);
  if (std::byte* at = in_memory(block))
    std::memcpy(at + offset, source, static_cast<std::size_t>(bytes));
  else
    transfer(::pwrite, file_, source, bytes, in_file(block) + offset, directory_, "written");
}

void SwapSpace::load(std::int64_t block, std::int64_t offset, std::byte* destination,
                     std::int64_t bytes) {
  TENON_ASSERT(block >= 0 && block < blocks() && offset + bytes <= block_bytes_);
  if (const std::byte* at = in_memory(block))
    std::memcpy(destination, at + offset, static_cast<std::size_t>(bytes));
  else
    transfer(::pread, file_, destination, bytes, in_file(block) + offset, directory_, "read");
}

void SwapSpace::move(std::int64_t source, std::int64_t destination) {
  TENON_ASSERT(source >= 0 && source < blocks());
  if (source == destination) return;
  if (const std::byte* at = in_memory(source)) return store(destination, 0, at, block_bytes_);
  if (std::byte* at = in_memory(destination)) return load(source, 0, at, block_bytes_);
  std::vector<std::byte> block(static_cast<std::size_t>(block_bytes_));
  load(source, 0, block.data(), block_bytes_);
  store(destination, 0, block.data(), block_bytes_);
}

}  // namespace tenon::cpu
