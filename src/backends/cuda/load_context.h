// Packing on the way to the device: a kernel asks for its weights in the layout it reads, by key,
// so that two nodes (a tied embedding) or two kernels with one layout share one copy.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/cuda_features.h"
#include "core/thread_pool.h"

namespace tenon::cuda {

/// One piece of device memory that a kernel will ask LoadContext for, for the plan.
struct PackedNeed {
  std::string key;  ///< weight name and layout, "lm_head.weight canonical"; a key counts once
  std::int64_t bytes = 0;
};

/// Gives out device memory for packed weights and fills it through pinned staging buffers, on a
/// stream of its own: while one buffer travels, the host packs the next.
class LoadContext {
 public:
  /// `bytes`: of all distinct keys (planned_bytes), each rounded up to kDeviceAlignment.
  LoadContext(std::int64_t bytes, const DeviceFeatures& features, ThreadPool& pool);

  /// Writes bytes [begin, begin + out.size()) of a piece. Called on several threads, on parts that
  /// do not overlap and begin at multiples of kDeviceAlignment.
  using Fill = std::function<void(std::int64_t begin, std::span<std::byte> out)>;

  /// The memory under `key`; filled by the first who asks. Null where `bytes` is 0.
  std::byte* get(const std::string& key, std::int64_t bytes, const Fill& fill);
  /// The same, of bytes that lie somewhere already.
  std::byte* get(const std::string& key, std::span<const std::byte> source);

  const DeviceFeatures& features() const { return features_; }
  ThreadPool& pool() { return pool_; }

  /// Waits for all copies and gives the memory up to its new owner.
  DeviceBuffer finish();
  std::int64_t used() const { return used_; }

 private:
  static constexpr std::int64_t kStagingBytes = std::int64_t{16} << 20;
  struct Staging {
    PinnedBuffer memory;
    Event sent;
  };

  DeviceBuffer memory_;
  std::int64_t used_ = 0;
  const DeviceFeatures& features_;
  ThreadPool& pool_;
  Stream stream_;
  std::vector<Staging> staging_;
  std::size_t next_ = 0;
  std::map<std::string, std::byte*, std::less<>> pieces_;
};

/// Bytes that a LoadContext for these needs must have: each key once.
std::int64_t planned_bytes(std::span<const PackedNeed> needs);

}  // namespace tenon::cuda
