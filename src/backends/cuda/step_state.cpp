// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/step_state.h"

#include <algorithm>

#include "backends/cuda/device/step_fill.h"
#include "core/check.h"

namespace tenon::cuda {
namespace {

constexpr std::int64_t kInt = sizeof(std::int32_t);

std::int64_t table_bytes(const ProgramDescription& program) {
  return aligned(program.slots * StepState::table_stride(program) * kInt);
}

// Sequences and slots of a program; the arrays have one element more, for offsets.
std::int64_t row_bytes(std::int64_t rows) { return aligned((rows + 1) * kInt); }

}  // namespace

std::int32_t StepState::table_stride(const ProgramDescription& program) {
  std::int64_t most = 1;
  for (const CacheGroupDescription& group : program.cache) {
    const std::int64_t tokens = program.sequence_length > 0 ? program.sequence_length
                                                            : group.blocks * group.tokens_per_block;
    most = std::max(most, (tokens + group.tokens_per_block - 1) / group.tokens_per_block);
  }
  return static_cast<std::int32_t>(most);
}

std::int64_t StepState::bytes(const ProgramDescription& program) {
  return 3 * row_bytes(program.limits.tokens) + 6 * row_bytes(program.limits.sequences) +
         row_bytes(program.limits.logit_rows) + aligned(program.slots * kInt) +
         table_bytes(program) * static_cast<std::int64_t>(program.cache.size());
}

StepState::StepState(const ProgramDescription& program)
    : memory_(bytes(program), "the step's rows and block tables"),
      table_stride_(table_stride(program)) {
  TENON_CHECK(program.cache.size() <= kMaxCacheGroups, ErrorCode::kUnsupported,
              "the CUDA backend serves {} cache groups at most, not {}", kMaxCacheGroups,
              program.cache.size());
  check(cudaMemset(memory_.data(), 0xFF, static_cast<std::size_t>(memory_.bytes())),
        "clear slots");  // -1: no block, no token
  // Only queued by then, and the steps' streams do not wait for the default one.
  check(cudaStreamSynchronize(nullptr), "clear slots");
  std::byte* next = memory_.data();
  const auto take = [&next](std::int64_t bytes) {
    std::byte* const at = next;
    next += bytes;
    return reinterpret_cast<std::int32_t*>(at);
  };
  const std::int64_t tokens = row_bytes(program.limits.tokens);
  const std::int64_t sequences = row_bytes(program.limits.sequences);
  view_.token_ids = take(tokens);
  view_.positions = take(tokens);
  view_.token_sequence = take(tokens);
  view_.slots = take(sequences);
  view_.token_begin = take(sequences);
  view_.cached_tokens = take(sequences);
  view_.sequence_length = take(sequences);
  view_.sample_row = take(sequences);
  view_.encoder_begin = take(sequences);
  view_.logit_rows = take(row_bytes(program.limits.logit_rows));
  last_tokens_ = take(aligned(program.slots * kInt));
  for (std::size_t g = 0; g < program.cache.size(); ++g)
    tables_.push_back(take(table_bytes(program)));
  TENON_ASSERT(next == memory_.data() + memory_.bytes());
}

StepPieces StepState::encode(const Batch& batch, std::span<const TableChange> changes,
                             const StepSizes& padded, Upload& upload) {
  StepPieces out;
  out.sizes = {.tokens = batch.tokens(),
               .sequences = batch.sequences(),
               .logit_rows = static_cast<std::int64_t>(batch.logit_rows.size()),
               .encoder_tokens = batch.encoder_begin.empty() ? 0 : batch.encoder_begin.back()};
  out.padded = padded;
  std::vector<std::int32_t> token_sequence(batch.token_ids.size());
  for (std::size_t s = 0; s < batch.slots.size(); ++s)
    std::fill(token_sequence.begin() + batch.token_begin[s],
              token_sequence.begin() + batch.token_begin[s + 1], static_cast<std::int32_t>(s));
  out.token_ids = upload.add(batch.token_ids);
  out.positions = upload.add(batch.positions);
  out.token_sequence = upload.add(token_sequence);
  out.slots = upload.add(batch.slots);
  out.token_begin = upload.add(batch.token_begin);
  out.cached_tokens = upload.add(batch.cached_tokens);
  out.sequence_length = upload.add(batch.sequence_length);
  out.sample_row = upload.add(batch.sample_row);
  if (!batch.encoder_begin.empty()) out.encoder_begin = upload.add(batch.encoder_begin);
  out.logit_rows = upload.add(batch.logit_rows);

  std::vector<TableRun> runs;
  std::vector<std::int32_t> blocks;
  for (const TableChange& change : changes) {
    runs.push_back({change.group, change.slot, change.begin,
                    static_cast<std::int32_t>(blocks.size()),
                    static_cast<std::int32_t>(change.blocks.size())});
    blocks.insert(blocks.end(), change.blocks.begin(), change.blocks.end());
  }
  out.changes = upload.add(runs);
  out.change_blocks = upload.add(blocks);
  out.change_count = static_cast<std::int64_t>(changes.size());
  return out;
}

void StepState::apply_tables(const StepPieces& pieces, const Upload& upload,
                             cudaStream_t stream) const {
  GroupTables tables;
  std::copy(tables_.begin(), tables_.end(), tables.tables);
  tables.stride = table_stride_;
  launch_table_runs(tables, upload.device<TableRun>(pieces.changes),
                    upload.device<std::int32_t>(pieces.change_blocks), pieces.change_count, stream);
}

void StepState::fill(const StepPieces& pieces, const Upload& upload, cudaStream_t stream) const {
  ArrayFills fills;
  const auto add = [&](std::int64_t piece, const std::int32_t* to, std::int64_t count,
                       std::int64_t padded, std::int32_t fill) {
    fills.array[fills.count++] = {upload.device<std::int32_t>(piece), const_cast<std::int32_t*>(to),
                                  static_cast<std::int32_t>(count),
                                  static_cast<std::int32_t>(padded), fill};
  };
  const StepSizes& size = pieces.sizes;
  const StepSizes& padded = pieces.padded;
  add(pieces.token_ids, view_.token_ids, size.tokens, padded.tokens, 0);
  add(pieces.positions, view_.positions, size.tokens, padded.tokens, 0);
  add(pieces.token_sequence, view_.token_sequence, size.tokens, padded.tokens, -1);
  add(pieces.slots, view_.slots, size.sequences, padded.sequences, -1);
  const auto tokens = static_cast<std::int32_t>(size.tokens);
  add(pieces.token_begin, view_.token_begin, size.sequences + 1, padded.sequences + 1, tokens);
  add(pieces.cached_tokens, view_.cached_tokens, size.sequences, padded.sequences, 0);
  add(pieces.sequence_length, view_.sequence_length, size.sequences, padded.sequences, 0);
  add(pieces.sample_row, view_.sample_row, size.sequences, padded.sequences, -1);
  add(pieces.logit_rows, view_.logit_rows, size.logit_rows, padded.logit_rows, 0);
  if (pieces.encoder_begin >= 0)
    add(pieces.encoder_begin, view_.encoder_begin, size.sequences + 1, padded.sequences + 1,
        static_cast<std::int32_t>(size.encoder_tokens));
  fills.token_sequence = upload.device<std::int32_t>(pieces.token_sequence);
  fills.slots = upload.device<std::int32_t>(pieces.slots);
  fills.last_tokens = last_tokens_;
  launch_array_fills(fills, stream);
}

}  // namespace tenon::cuda
