// What benchmarks of CUDA kernels share: random data on the device, a step with a paged cache, and
// the time of launches in a recorded graph.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda/cuda_kernel.h"
#include "backends/cuda/step_state.h"
#include "core/thread_pool.h"

namespace tenon::bench {

/// A buffer of numbers of a normal distribution, or of an 8-bit cache's codes.
void fill_randomly(std::byte* to, std::int64_t bytes, DataType type = DataType::kBFloat16);

/// Rows of a step: `cached` and `fresh` tokens of each sequence.
Batch batch_of(const std::vector<std::int32_t>& cached, const std::vector<std::int32_t>& fresh);

/// The step's arrays on the device, and a cache of `layers` layers with random contents, whose
/// blocks are in order.
class StepRig {
 public:
  /// `group`: without blocks and layers; kv_heads 0: no cache.
  StepRig(const Batch& batch, CacheGroupDescription group, std::int64_t layers);

  const CacheGroupDescription& group() const { return program_.cache[0]; }
  const cuda::DeviceFeatures& features() const { return features_; }
  cudaStream_t stream() const { return stream_.get(); }
  cuda::StepContext& context() { return step_; }
  ThreadPool& pool() { return pool_; }

 private:
  void fill_cache();

  ProgramDescription program_;
  cuda::Stream stream_;
  cuda::DeviceFeatures features_ = cuda::DeviceFeatures::detect(0);
  ThreadPool pool_{{.threads = 1, .pin = false}};
  std::unique_ptr<cuda::StepState> state_;
  cuda::Upload upload_;
  std::unique_ptr<cuda::PagedCache> cache_;
  cuda::StepContext step_;
};

/// Seconds that `launches` take from the first's begin to the last's end: the median of `replays`
/// of a recorded graph, after one that is not counted.
double graph_seconds(cudaStream_t stream, int launches, const std::function<void(int)>& launch,
                     int replays = 11);

}  // namespace tenon::bench
