// StepState: the device's arrays of the step (StepView), at addresses that never change, and the
// slots' block tables and last tokens; filled from the host's upload by two small kernels.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "backends/backend.h"
#include "backends/cuda/device/step_view.h"
#include "backends/cuda/slot_tables.h"
#include "backends/cuda/upload.h"

namespace tenon::cuda {

/// Where a step's pieces lie in its Upload, and how many rows it has and is launched with.
struct StepPieces {
  StepSizes sizes;   ///< of the step
  StepSizes padded;  ///< launched
  std::int64_t token_ids = 0;
  std::int64_t positions = 0;
  std::int64_t token_sequence = 0;
  std::int64_t slots = 0;
  std::int64_t token_begin = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t sequence_length = 0;
  std::int64_t sample_row = 0;
  std::int64_t encoder_begin = -1;  ///< -1: none
  std::int64_t logit_rows = 0;
  std::int64_t changes = 0;  ///< [change_count] of TableRun, then their blocks
  std::int64_t change_blocks = 0;
  std::int64_t change_count = 0;
};

class StepState {
 public:
  static std::int64_t bytes(const ProgramDescription& program);
  /// Blocks a slot's table may have.
  static std::int32_t table_stride(const ProgramDescription& program);

  explicit StepState(const ProgramDescription& program);

  const StepView& view() const { return view_; }
  const std::int32_t* tables(std::size_t group) const { return tables_[group]; }
  std::int32_t* last_tokens() const { return last_tokens_; }

  /// Host part: writes the step's pieces into the upload.
  static StepPieces encode(const Batch& batch, std::span<const TableChange> changes,
                           const StepSizes& padded, Upload& upload);
  /// Queues block tables' changes: before anything that reads them.
  void apply_tables(const StepPieces& pieces, const Upload& upload, cudaStream_t stream) const;
  /// Queues the rows: after slots took over their updates, since last tokens are resolved here.
  void fill(const StepPieces& pieces, const Upload& upload, cudaStream_t stream) const;

 private:
  DeviceBuffer memory_;
  StepView view_;
  std::vector<std::int32_t*> tables_;  // one a group: [slots][table_stride]
  std::int32_t* last_tokens_ = nullptr;
  std::int32_t table_stride_ = 0;
};

}  // namespace tenon::cuda
