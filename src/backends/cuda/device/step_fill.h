// The two kernels that bring a step's upload to its places.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace tenon::cuda {

/// Entries [begin, begin + count) of a slot's table, `source` elements into the blocks.
struct TableRun {
  std::int32_t group = 0;
  std::int32_t slot = 0;
  std::int32_t begin = 0;
  std::int32_t source = 0;
  std::int32_t count = 0;
};
inline constexpr int kMaxCacheGroups = 16;
struct GroupTables {
  std::int32_t* tables[kMaxCacheGroups];  ///< [slots][stride] each
  std::int32_t stride = 0;
};
void launch_table_runs(const GroupTables& tables, const TableRun* runs, const std::int32_t* blocks,
                       std::int64_t count, cudaStream_t stream);

/// One int32 array: `count` given elements, then `fill` up to `padded`.
struct ArrayFill {
  const std::int32_t* from = nullptr;
  std::int32_t* to = nullptr;
  std::int32_t count = 0;
  std::int32_t padded = 0;
  std::int32_t fill = 0;
};
inline constexpr int kArrayFills = 10;
struct ArrayFills {
  ArrayFill array[kArrayFills];
  int count = 0;
  /// array[0] are token ids: negative ones stand for last_tokens[slots[token_sequence[i]]], of
  /// the uploaded arrays.
  const std::int32_t* token_sequence = nullptr;
  const std::int32_t* slots = nullptr;
  const std::int32_t* last_tokens = nullptr;
};
void launch_array_fills(const ArrayFills& fills, cudaStream_t stream);

}  // namespace tenon::cuda
