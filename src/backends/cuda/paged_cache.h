// PagedCache: the pools of all cache layers in one piece of device memory a group, and the work on
// blocks (copies, swaps). Tables live with the slots; layers point to them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/cache_layer.h"
#include "backends/cuda/swapped_blocks.h"

namespace tenon::cuda {

class PagedCache {
 public:
  /// Throws Error{kUnsupported} for an element type it does not know.
  static std::int64_t bytes(std::span<const CacheGroupDescription> groups);

  /// `tables[g]`: device memory of group g's block tables, [slots][table_stride]. Throws what
  /// SwapFile() throws where blocks are to go to a file in `swap_directory`.
  PagedCache(std::span<const CacheGroupDescription> groups,
             std::span<const std::int32_t* const> tables, std::int32_t table_stride,
             const std::string& swap_directory = {});

  const CacheLayer& layer(std::int64_t cache_layer) const;
  std::span<const CacheGroupDescription> groups() const { return groups_; }

  /// Queues the command on the stream.
  void run(const CacheCommand& command, cudaStream_t stream);
  /// What a file refused when the stream came to it.
  const std::shared_ptr<StreamFaults>& faults() const { return faults_; }

 private:
  std::vector<CacheGroupDescription> groups_;
  std::vector<CacheLayer> layers_;  ///< by cache_layer; blocks 0 where there is none
  std::vector<DeviceBuffer> memory_;
  std::shared_ptr<StreamFaults> faults_;
  std::vector<SwappedBlocks> swapped_;  ///< by group: whole blocks of all its layers
};

}  // namespace tenon::cuda
