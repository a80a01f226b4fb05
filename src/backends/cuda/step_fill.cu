// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/device/step_fill.h"

#include <algorithm>

#include "backends/cuda/cuda_api.h"

namespace tenon::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    table_kernel(GroupTables tables, const TableRun* runs, const std::int32_t* blocks) {
  const TableRun run = runs[blockIdx.x];
  std::int32_t* const target =
      tables.tables[run.group] + static_cast<std::int64_t>(run.slot) * tables.stride + run.begin;
  for (std::int32_t i = threadIdx.x; i < run.count; i += kThreads)
    target[i] = blocks[run.source + i];
}

__global__ void __launch_bounds__(kThreads) fill_kernel(ArrayFills fills) {
  const ArrayFill& a = fills.array[blockIdx.y];
  for (std::int32_t i = blockIdx.x * kThreads + threadIdx.x; i < a.padded;
       i += gridDim.x * kThreads) {
    std::int32_t value = i < a.count ? a.from[i] : a.fill;
    if (blockIdx.y == 0 && i < a.count && value < 0)
      value = fills.last_tokens[fills.slots[fills.token_sequence[i]]];
    // A slot whose mask left nothing has no last token; its sequence is over, its id harmless.
    a.to[i] = blockIdx.y == 0 && value < 0 ? 0 : value;
  }
}

}  // namespace

void launch_table_runs(const GroupTables& tables, const TableRun* runs, const std::int32_t* blocks,
                       std::int64_t count, cudaStream_t stream) {
  if (count == 0) return;
  table_kernel<<<static_cast<unsigned>(count), kThreads, 0, stream>>>(tables, runs, blocks);
  check_launch("block tables");
}

void launch_array_fills(const ArrayFills& fills, cudaStream_t stream) {
  std::int32_t longest = 1;
  for (int i = 0; i < fills.count; ++i) longest = std::max(longest, fills.array[i].padded);
  const auto blocks = static_cast<unsigned>(std::min((longest + kThreads - 1) / kThreads, 64));
  fill_kernel<<<dim3(blocks, static_cast<unsigned>(fills.count)), kThreads, 0, stream>>>(fills);
  check_launch("step rows");
}

}  // namespace tenon::cuda
