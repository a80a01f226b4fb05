// SwappedBlocks: where one cache group's blocks go from the device, and come back from, in the
// order of the stream: page-locked memory, and behind it a file that is read and written by
// functions the stream calls on the host.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "backends/cuda/cuda_api.h"
#include "backends/swap_file.h"
#include "tenon/error.h"

namespace tenon::cuda {

/// What went wrong in functions that a stream called; whoever waits for the stream asks for it.
class StreamFaults {
 public:
  void keep(Error error);
  /// Throws the first that was kept, once.
  void raise();

 private:
  std::mutex mutex_;
  std::optional<Error> first_;
};

class SwappedBlocks {
 public:
  /// Blocks [0, host_blocks) in memory, [host_blocks, host_blocks + disk_blocks) in a file in
  /// `directory`, read and written through one more block of memory. Throws what SwapFile() throws.
  SwappedBlocks(std::int64_t host_blocks, std::int64_t disk_blocks, std::int64_t block_bytes,
                const std::string& directory, std::shared_ptr<StreamFaults> faults);

  /// Page-locked memory this takes.
  static std::int64_t bytes(std::int64_t host_blocks, std::int64_t disk_blocks,
                            std::int64_t block_bytes);

  std::int64_t blocks() const { return host_blocks_ + disk_blocks_; }

  /// Where copies that are queued next find the block's content.
  std::byte* load(std::int64_t block, cudaStream_t stream);
  /// Where copies that are queued next put the block's content; store() is queued behind them.
  std::byte* place(std::int64_t block) const;
  void store(std::int64_t block, cudaStream_t stream);

  void move(std::int64_t source, std::int64_t destination, cudaStream_t stream);

 private:
  struct FileWork;
  bool on_disk(std::int64_t block) const { return block >= host_blocks_; }
  void queue(std::int64_t block, std::byte* memory, bool write, cudaStream_t stream);

  std::int64_t host_blocks_;
  std::int64_t disk_blocks_;
  std::int64_t block_bytes_;
  PinnedBuffer memory_;                   // host_blocks, and one for the file's way
  std::shared_ptr<const SwapFile> file_;  // work in flight holds it too
  std::shared_ptr<StreamFaults> faults_;
};

}  // namespace tenon::cuda
