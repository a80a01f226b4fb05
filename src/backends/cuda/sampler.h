// Sampler: slots' sampling state on the device, the late inputs of a step, and its results.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device/sampling_state.h"
#include "backends/cuda/upload.h"

namespace tenon::cuda {

/// Where a step's slot changes lie in its Upload.
struct SamplerPieces {
  std::int64_t changes = 0;
  std::int64_t sampling = 0;
  std::int64_t tokens = 0;
  std::int32_t count = 0;
  std::int32_t parents = 0;
};

class Sampler {
 public:
  /// Device memory for `slots` slots, `sequences` of them in one step.
  static std::int64_t bytes(std::int64_t slots, std::int64_t sequences, std::int64_t vocabulary);

  /// `last_tokens`: [slots], where the step's rows are resolved from.
  Sampler(std::int64_t slots, std::int64_t sequences, std::int64_t vocabulary,
          std::int32_t* last_tokens);

  /// Throws Error{kUnsupported} for what the device cannot sample.
  static void check(std::span<const SlotUpdate> updates);
  /// Host part of slot updates that check() let through.
  SamplerPieces encode(std::span<const SlotUpdate> updates, Upload& upload) const;
  void apply(const SamplerPieces& pieces, const Upload& upload, cudaStream_t stream) const;

  /// Queues masks and logits (copied before this returns), the draw, and the copy of the results
  /// of `batch`'s sequences to `host`.
  void sample(const float* logits, const StepView& view, const Batch& batch, const LateInputs& late,
              SampledSequence* host, cudaStream_t stream);

 private:
  std::int64_t sequences_;
  DeviceBuffer memory_;
  SamplerSlots slots_;
  float* processed_ = nullptr;  ///< [sequences][vocabulary], also the copies of parents
  std::uint64_t* candidates_ = nullptr;
  std::int32_t* parent_state_ = nullptr;
  SampledSequence* results_ = nullptr;
  Upload late_[2];  ///< turn and turn about
  int next_ = 0;
};

/// A sequence's result as the batch's readers know it.
SequenceResult to_result(const SampledSequence& sampled);

}  // namespace tenon::cuda
