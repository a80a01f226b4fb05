// Recorded steps: the launches of a decode step as a CUDA graph, one a bucket of batch sizes; and
// handles of steps whose results are on their way.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/sampler.h"
#include "backends/cuda/swapped_blocks.h"

namespace tenon::cuda {

/// Sequences that a step of `sequences` decodes is launched with: 1, 2, 4, 8, then multiples of 8
/// up to 64, of 16 up to 256, of 64 beyond; never more than `limit`.
std::int64_t decode_bucket(std::int64_t sequences, std::int64_t limit);

class RecordedSteps {
 public:
  RecordedSteps() = default;
  ~RecordedSteps();
  RecordedSteps(const RecordedSteps&) = delete;
  RecordedSteps& operator=(const RecordedSteps&) = delete;

  /// Runs `launches` on the stream: as they are the first time a bucket is met (libraries choose
  /// algorithms, code is loaded), recorded the second time, replayed from then on.
  void run(std::int64_t bucket, cudaStream_t stream, const std::function<void()>& launches);

 private:
  struct Recording {
    bool warm = false;
    cudaGraphExec_t graph = nullptr;
  };
  std::map<std::int64_t, Recording> recordings_;
};

/// Places that are used again once their step's handle is gone.
class ResultPool : public std::enable_shared_from_this<ResultPool> {
 public:
  explicit ResultPool(std::int64_t sequences) : sequences_(sequences) {}
  std::shared_ptr<ResultPlace> take();

 private:
  std::int64_t sequences_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<ResultPlace>> free_;
};

/// A step whose tokens are on their way, or that failed before they were.
class CudaStep final : public StepHandle {
 public:
  CudaStep(std::shared_ptr<ResultPlace> place, std::size_t sequences,
           std::shared_ptr<StreamFaults> faults, std::exception_ptr error);
  bool ready() const override;
  const StepResult& wait() override;

 private:
  std::shared_ptr<ResultPlace> place_;  // null: nothing was sampled here
  StepResult result_;
  std::shared_ptr<StreamFaults> faults_;
  bool read_ = false;
  std::exception_ptr error_;
};

}  // namespace tenon::cuda
