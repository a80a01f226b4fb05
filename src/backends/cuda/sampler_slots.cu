// Slots' sampling state takes over what the host sends: resets, parents, parameters, histories.
// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/cuda_api.h"
#include "backends/cuda/device/sampling_state.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 512;

template <class T>
__device__ void copy_elements(T* to, const T* from, std::int32_t count) {
  for (std::int32_t i = threadIdx.x; i < count; i += kThreads) to[i] = from[i];
}

template <class T>
__device__ T* row_of(T* rows, std::int32_t row, std::int32_t width) {
  return rows + static_cast<std::int64_t>(row) * width;
}

// All parents are read before any slot is written.
__global__ void __launch_bounds__(kThreads) copy_parents(SamplerSlots slots, SlotChanges c) {
  const SlotChange& change = c.changes[blockIdx.x];
  if (change.parent < 0) return;
  if (change.takes_use != 0)
    copy_elements(row_of(c.use_copies, change.copy, slots.vocabulary),
                  row_of(slots.used, change.parent, slots.vocabulary), slots.vocabulary);
  if (change.takes_order != 0)
    copy_elements(row_of(c.order_copies, change.copy, slots.order_stride),
                  row_of(slots.order, change.parent, slots.order_stride),
                  slots.counts[change.parent].order);
  if (threadIdx.x == 0) {
    c.count_copies[change.copy] = slots.counts[change.parent];
    c.token_copies[change.copy] = slots.last_token[change.parent];
  }
}

__device__ void change_state(const SamplerSlots& slots, const SlotChanges& c,
                             const SlotChange& change) {
  SlotCounts& counts = slots.counts[change.slot];
  if (change.reset != 0) {
    counts = {};
    slots.last_token[change.slot] = -1;
  }
  if (change.parent >= 0) {
    counts = c.count_copies[change.copy];
    if (change.takes_order == 0) counts.order = 0;
    slots.last_token[change.slot] = c.token_copies[change.copy];
  }
  if (change.sampling >= 0) slots.sampling[change.slot] = c.sampling[change.sampling];
}

__device__ void append(const SamplerSlots& slots, std::int32_t slot, std::int32_t at,
                       const std::int32_t* tokens, std::int32_t count) {
  std::int32_t* const order = row_of(slots.order, slot, slots.order_stride);
  for (std::int32_t i = threadIdx.x; i < count && at + i < slots.order_stride; i += kThreads)
    order[at + i] = tokens[i];
}

__device__ void change_slot(const SamplerSlots& slots, const SlotChanges& c,
                            const SlotChange& change) {
  __shared__ std::int32_t last_reset;  // index of the last output that is top_p_reset_id, plus 1
  if (threadIdx.x == 0) {
    change_state(slots, c, change);
    last_reset = 0;
  }
  __syncthreads();
  const SlotSampling& p = slots.sampling[change.slot];
  TokenUse* const used = row_of(slots.used, change.slot, slots.vocabulary);
  if (change.lists_count > 0) copy_elements(p.lists, c.integers + change.lists, change.lists_count);
  if (change.takes_use != 0)
    copy_elements(used, row_of(c.use_copies, change.copy, slots.vocabulary), slots.vocabulary);
  if (change.clears_use != 0)
    for (std::int32_t i = threadIdx.x; i < slots.vocabulary; i += kThreads) used[i] = 0;
  SlotCounts& counts = slots.counts[change.slot];
  if (change.takes_order != 0)
    copy_elements(row_of(slots.order, change.slot, slots.order_stride),
                  row_of(c.order_copies, change.copy, slots.order_stride), counts.order);
  __syncthreads();

  const std::int32_t* const history = c.integers + change.history;
  const std::int32_t* const outputs = c.integers + change.outputs;
  const auto in_vocabulary = [&](std::int32_t token) {
    return token >= 0 && token < slots.vocabulary;
  };
  if (p.keeps_use != 0) {
    for (std::int32_t i = change.history_ignored + static_cast<std::int32_t>(threadIdx.x);
         i < change.history_count; i += kThreads)
      if (in_vocabulary(history[i])) atomicOr(&used[history[i]], kInPrompt);
    for (std::int32_t i = threadIdx.x; i < change.output_count; i += kThreads)
      if (in_vocabulary(outputs[i])) atomicAdd(&used[outputs[i]], 1U);
  }
  if (p.keeps_order != 0) {
    append(slots, change.slot, counts.order, history, change.history_count);
    append(slots, change.slot, counts.order + change.history_count, outputs, change.output_count);
  }
  for (std::int32_t i = threadIdx.x; i < change.output_count; i += kThreads)
    if (outputs[i] == p.top_p_reset_id) atomicMax(&last_reset, i + 1);
  __syncthreads();
  if (threadIdx.x == 0) {
    if (p.keeps_order != 0)
      counts.order =
          min(counts.order + change.history_count + change.output_count, slots.order_stride);
    counts.outputs += change.output_count;
    counts.since_reset = last_reset > 0 ? change.output_count - last_reset
                                        : counts.since_reset + change.output_count;
    if (change.output_count > 0) slots.last_token[change.slot] = outputs[change.output_count - 1];
  }
  __syncthreads();
}

// Slots differ between changes of one batch only by chance: a block each would race where they do
// not, so the block of a slot's first change makes all changes of that slot.
__global__ void __launch_bounds__(kThreads) apply_changes(SamplerSlots slots, SlotChanges c) {
  const std::int32_t slot = c.changes[blockIdx.x].slot;
  const auto first = static_cast<std::int32_t>(blockIdx.x);
  for (std::int32_t i = 0; i < first; ++i)
    if (c.changes[i].slot == slot) return;
  for (std::int32_t i = first; i < c.count; ++i)
    if (c.changes[i].slot == slot) change_slot(slots, c, c.changes[i]);
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
