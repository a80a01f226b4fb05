// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/recorded_step.h"

#include <fmt/core.h>

#include <algorithm>

namespace tenon::cuda {
namespace {

std::int64_t up_to_multiple(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

std::int64_t decode_bucket(std::int64_t sequences, std::int64_t limit) {
  std::int64_t bucket = 1;
  if (sequences <= 8)
    while (bucket < sequences) bucket *= 2;
  else
    bucket = up_to_multiple(sequences, sequences <= 64 ? 8 : sequences <= 256 ? 16 : 64);
  return std::max(sequences, std::min(bucket, limit));
}

RecordedSteps::~RecordedSteps() {
  for (const auto& [bucket, recording] : recordings_)
    if (recording.graph != nullptr) cudaGraphExecDestroy(recording.graph);
}

void RecordedSteps::run(std::int64_t bucket, cudaStream_t stream,
                        const std::function<void()>& launches) {
  Recording& recording = recordings_[bucket];
  if (!recording.warm) {
    launches();
    recording.warm = true;
    return;
  }
  if (recording.graph == nullptr) {
    cudaGraph_t graph = nullptr;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "record a step");
    try {
      launches();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "record a step");
    const cudaError_t code = cudaGraphInstantiate(&recording.graph, graph, 0);
    cudaGraphDestroy(graph);
    check(code, "make a recorded step");
  }
  check(cudaGraphLaunch(recording.graph, stream), "replay a step");
}

std::shared_ptr<ResultPlace> ResultPool::take() {
  std::unique_ptr<ResultPlace> place;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      place = std::move(free_.back());
      free_.pop_back();
    }
  }
  if (place == nullptr)
    place = std::make_unique<ResultPlace>(
        PinnedBuffer(sequences_ * static_cast<std::int64_t>(sizeof(SampledSequence)), "results"),
        PinnedBuffer(), Event());
  return {place.release(), [pool = shared_from_this()](ResultPlace* used) {
            const std::lock_guard lock(pool->mutex_);
            pool->free_.emplace_back(used);
          }};
}

CudaStep::CudaStep(std::shared_ptr<ResultPlace> place, std::size_t sequences,
                   std::shared_ptr<StreamFaults> faults, std::exception_ptr error)
    : place_(std::move(place)), faults_(std::move(faults)), error_(std::move(error)) {
  result_.sequences.resize(sequences);
}

bool CudaStep::ready() const {
  if (error_ || place_ == nullptr || read_) return true;
  try {
    return place_->ready.done();
  } catch (...) {
    return true;  // wait() tells what went wrong
  }
}

const StepResult& CudaStep::wait() {
  if (error_) std::rethrow_exception(error_);
  if (place_ == nullptr || read_) return result_;
  try {
    place_->ready.synchronize();
    faults_->raise();
  } catch (const Error& error) {
    error_ = std::make_exception_ptr(
        error.code() == ErrorCode::kInternal
            ? Error(error.code(), fmt::format("{} (found when the step was done: which op it was "
                                              "is known where each is waited for, with "
                                              "CUDA_LAUNCH_BLOCKING=1 or a worker process)",
                                              error.what()))
            : error);
    std::rethrow_exception(error_);
  }
  const auto* sampled = place_->memory.as<const SampledSequence>();
  for (std::size_t s = 0; s < result_.sequences.size(); ++s)
    result_.sequences[s] = to_result(sampled[s], place_->listed.as<const ListedToken>());
  read_ = true;
  return result_;
}

}  // namespace tenon::cuda
