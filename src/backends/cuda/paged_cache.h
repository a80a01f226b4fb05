// PagedCache: the pools of all cache layers in one piece of device memory a group, and the work on
// blocks (copies, swaps). Tables live with the slots; layers point to them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/cache_layer.h"

namespace tenon::cuda {

class PagedCache {
 public:
  /// Throws Error{kUnsupported} for an element type it does not know.
  static std::int64_t bytes(std::span<const CacheGroupDescription> groups);

  /// `tables[g]`: device memory of group g's block tables, [slots][table_stride].
  PagedCache(std::span<const CacheGroupDescription> groups,
             std::span<const std::int32_t* const> tables, std::int32_t table_stride);

  const CacheLayer& layer(std::int64_t cache_layer) const;
  std::span<const CacheGroupDescription> groups() const { return groups_; }

  /// Queues the command on the stream. Throws Error{kUnsupported} for swaps where no swap memory
  /// was planned.
  void run(const CacheCommand& command, cudaStream_t stream);

 private:
  std::vector<CacheGroupDescription> groups_;
  std::vector<CacheLayer> layers_;  ///< by cache_layer; blocks 0 where there is none
  std::vector<DeviceBuffer> memory_;
  std::vector<PinnedBuffer> swapped_;  ///< by group: [host_blocks] of all its layers
};

}  // namespace tenon::cuda
