// Slots' sampling state takes over what the host sends: resets, parents, parameters, histories.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 512;

// All parents are read before any slot is written.
__global__ void __launch_bounds__(kThreads) copy_parents(SamplerSlots slots, SlotChanges c) {
  const SlotChange& change = c.changes[blockIdx.x];
  if (change.parent < 0) return;
  const TokenUse* from = slots.used + static_cast<std::int64_t>(change.parent) * slots.vocabulary;
  TokenUse* to = c.parent_copies + static_cast<std::int64_t>(change.copy) * slots.vocabulary;
  for (std::int32_t i = threadIdx.x; i < slots.vocabulary; i += kThreads) to[i] = from[i];
  if (threadIdx.x == 0) {
    c.parent_state[2 * change.copy] = slots.output_count[change.parent];
    c.parent_state[2 * change.copy + 1] = slots.last_token[change.parent];
  }
}

// Slots differ between changes of one step only by chance: a block each would race where they do
// not, so one block makes all changes of a slot; `first` is the first of its slot.
__global__ void __launch_bounds__(kThreads) apply_changes(SamplerSlots slots, SlotChanges c) {
  const std::int32_t slot = c.changes[blockIdx.x].slot;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(blockIdx.x); ++i)
    if (c.changes[i].slot == slot) return;
  TokenUse* const used = slots.used + static_cast<std::int64_t>(slot) * slots.vocabulary;
  for (std::int32_t index = static_cast<std::int32_t>(blockIdx.x); index < c.count; ++index) {
    const SlotChange change = c.changes[index];
    if (change.slot != slot) continue;
    if (change.reset != 0 || change.parent >= 0) {
      const TokenUse* from =
          change.parent < 0
              ? nullptr
              : c.parent_copies + static_cast<std::int64_t>(change.copy) * slots.vocabulary;
      for (std::int32_t i = threadIdx.x; i < slots.vocabulary; i += kThreads)
        used[i] = from == nullptr ? 0U : from[i];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      if (change.reset != 0) {
        slots.output_count[slot] = 0;
        slots.last_token[slot] = -1;
        slots.sampling[slot] = SlotSampling{};
      }
      if (change.parent >= 0) {
        slots.output_count[slot] = c.parent_state[2 * change.copy];
        slots.last_token[slot] = c.parent_state[2 * change.copy + 1];
      }
      if (change.sampling >= 0) slots.sampling[slot] = c.sampling[change.sampling];
      if (change.output_count > 0) {
        slots.output_count[slot] += change.output_count;
        slots.last_token[slot] = c.tokens[change.outputs + change.output_count - 1];
      }
    }
    for (std::int32_t i = change.history_ignored + static_cast<std::int32_t>(threadIdx.x);
         i < change.history_count; i += kThreads) {
      const std::int32_t token = c.tokens[change.history + i];
      if (token >= 0 && token < slots.vocabulary) atomicOr(&used[token], kInPrompt);
    }
    for (std::int32_t i = threadIdx.x; i < change.output_count; i += kThreads) {
      const std::int32_t token = c.tokens[change.outputs + i];
      if (token >= 0 && token < slots.vocabulary) atomicAdd(&used[token], 1U);
    }
    __syncthreads();
  }
}

}  // namespace

void launch_slot_changes(const SamplerSlots& slots, const SlotChanges& changes,
                         cudaStream_t stream) {
  if (changes.count == 0) return;
  const auto blocks = static_cast<unsigned>(changes.count);
  if (changes.parents > 0) {
    copy_parents<<<blocks, kThreads, 0, stream>>>(slots, changes);
    check_launch("slots' parents");
  }
  apply_changes<<<blocks, kThreads, 0, stream>>>(slots, changes);
  check_launch("slots' changes");
}

}  // namespace tenon::cuda
