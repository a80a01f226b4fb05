// Sampler: slots' sampling state on the device, the late inputs of a step, and its results.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device/sampling_state.h"
#include "backends/cuda/slot_sampling.h"
#include "backends/cuda/upload.h"

namespace tenon::cuda {

/// Where a step's slot changes lie in its Upload, and what the step lists.
struct SamplerPieces {
  struct Group {  ///< the updates of one batch
    std::int32_t first = 0;
    std::int32_t count = 0;
    std::int32_t parents = 0;
  };
  std::vector<Group> groups;
  std::int64_t changes = 0;
  std::int64_t sampling = 0;
  std::int64_t integers = 0;
  std::int64_t top_begin = 0;
  std::int32_t listed = 0;  ///< tokens that the step lists, all sequences together
};

struct SamplerSizes {
  std::int64_t slots = 0;
  std::int64_t sequences = 0;        ///< of one step
  std::int64_t vocabulary = 0;       ///< 0: this rank samples nothing
  std::int64_t sequence_length = 0;  ///< tokens of prompt and output
};

/// Where a step's results come back to: page-locked memory that the device writes itself.
struct ResultPlace {
  PinnedBuffer memory;  ///< SampledSequence [sequences]
  PinnedBuffer listed;  ///< ListedToken; grows where a step lists more
  Event ready;
};

class Sampler {
 public:
  /// Device memory that is taken at once. What single requests may need beside it (long lists,
  /// copies of histories in beam search, listed tokens) is taken when one first does, and kept.
  static std::int64_t bytes(const SamplerSizes& sizes);

  /// `last_tokens`: [slots], where the step's rows are resolved from.
  Sampler(const SamplerSizes& sizes, std::int32_t* last_tokens);

  /// Takes over a batch's updates; they are sent with the next step that gets as far. Throws
  /// Error{kInternal}, and nothing has changed, where SlotSamplings refuses.
  void take(std::span<const SlotUpdate> updates);
  /// Host part of what was taken and of `batch`, whose slots count as sampled from now on.
  SamplerPieces encode(const Batch& batch, Upload& upload);
  /// Queues the updates that encode() wrote.
  void apply(const SamplerPieces& pieces, const Upload& upload, cudaStream_t stream);

  /// Queues masks and logits (copied before this returns) and the draw, which writes the results
  /// of `batch`'s sequences to `place`. `upload` is the one that encode() wrote `pieces` to.
  void sample(const float* logits, const StepView& view, const Batch& batch,
              const SamplerPieces& pieces, const Upload& upload, const LateInputs& late,
              ResultPlace& place, cudaStream_t stream);

 private:
  struct Taken {
    std::vector<SlotUpdate> updates;
    std::vector<HistoryChange> histories;
  };
  struct Encoder;
  void send_late(const LateInputs& late, SampleArguments& arguments, cudaStream_t stream);
  std::int32_t* lists_of(std::int32_t slot, std::size_t integers);
  void reserve_copies(std::int64_t parents);

  SamplerSizes sizes_;
  SlotSamplings histories_;
  std::vector<Taken> unsent_;
  DeviceBuffer memory_;
  SamplerSlots slots_;
  float* processed_ = nullptr;       ///< [sequences][vocabulary]
  std::vector<DeviceBuffer> lists_;  ///< by slot
  DeviceBuffer copies_;              ///< of parents' histories
  std::int64_t copied_parents_ = 0;  ///< that it has room for
  DeviceBuffer unordered_;           ///< a step's listed tokens before they are in order
  Upload late_[2];                   ///< turn and turn about
  int next_ = 0;
};

/// A sequence's result as the batch's readers know it; `listed` is the step's.
SequenceResult to_result(const SampledSequence& sampled, const ListedToken* listed);

}  // namespace tenon::cuda
