// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/swapped_blocks.h"

#include <utility>

#include "core/check.h"

namespace tenon::cuda {

void StreamFaults::keep(Error error) {
  const std::lock_guard lock(mutex_);
  if (!first_) first_.emplace(std::move(error));
}

void StreamFaults::raise() {
  const std::lock_guard lock(mutex_);
  if (!first_) return;
  Error error = std::move(*first_);
  first_.reset();
  throw error;
}

// One block between memory and the file, when the stream comes to it.
struct SwappedBlocks::FileWork {
  std::shared_ptr<const SwapFile> file;
  std::shared_ptr<StreamFaults> faults;
  std::int64_t block = 0;
  std::int64_t bytes = 0;
  std::byte* memory = nullptr;
  bool write = false;

  void run() const {
    try {
      if (write)
        file->store(block, 0, memory, bytes);
      else
        file->load(block, 0, memory, bytes);
    } catch (const Error& error) {
      faults->keep(error);
    } catch (...) {
      faults->keep(Error(ErrorCode::kResourceExhausted, "[kv cache] no memory to tell a fault"));
    }
  }
};

std::int64_t SwappedBlocks::bytes(std::int64_t host_blocks, std::int64_t disk_blocks,
                                  std::int64_t block_bytes) {
  return (host_blocks + (disk_blocks > 0 ? 1 : 0)) * block_bytes;
}

SwappedBlocks::SwappedBlocks(std::int64_t host_blocks, std::int64_t disk_blocks,
                             std::int64_t block_bytes, const std::string& directory,
                             std::shared_ptr<StreamFaults> faults)
    : host_blocks_(host_blocks),
      disk_blocks_(disk_blocks),
      block_bytes_(block_bytes),
      memory_(bytes(host_blocks, disk_blocks, block_bytes), "swapped cache blocks"),
      file_(std::make_shared<SwapFile>(disk_blocks, block_bytes, directory)),
      faults_(std::move(faults)) {}

std::byte* SwappedBlocks::place(std::int64_t block) const {
  TENON_ASSERT(block >= 0 && block < blocks());
  return memory_.data() + (on_disk(block) ? host_blocks_ : block) * block_bytes_;
}

void SwappedBlocks::queue(std::int64_t block, std::byte* memory, bool write, cudaStream_t stream) {
  auto work = std::make_unique<FileWork>(
      FileWork{file_, faults_, block - host_blocks_, block_bytes_, memory, write});
  const auto run = [](void* data) {
    const std::unique_ptr<FileWork> owned(static_cast<FileWork*>(data));
    owned->run();
  };
  check(cudaLaunchHostFunc(stream, run, work.get()), "queue a cache block's way to the disk");
  work.release();
}

std::byte* SwappedBlocks::load(std::int64_t block, cudaStream_t stream) {
  std::byte* memory = place(block);
  if (on_disk(block)) queue(block, memory, /*write=*/false, stream);
  return memory;
}

void SwappedBlocks::store(std::int64_t block, cudaStream_t stream) {
  if (on_disk(block)) queue(block, place(block), /*write=*/true, stream);
}

void SwappedBlocks::move(std::int64_t source, std::int64_t destination, cudaStream_t stream) {
  if (source == destination) return;
  std::byte* const from = place(source);
  std::byte* const to = place(destination);
  if (!on_disk(source) && !on_disk(destination)) {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(block_bytes_), cudaMemcpyHostToHost,
                          stream),
          "move a swapped cache block");
    return;
  }
  // Through whichever of the two lies in memory; from file to file that is the block between.
  std::byte* const memory = on_disk(destination) ? from : to;
  if (on_disk(source)) queue(source, memory, /*write=*/false, stream);
  if (on_disk(destination)) queue(destination, memory, /*write=*/true, stream);
}

}  // namespace tenon::cuda
