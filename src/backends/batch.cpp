// verify(Batch): sizes and indices of a step agree, so that kernels need no checks of their own.
// SPDX-License-Identifier: Apache-2.0
#include "backends/batch.h"

#include "core/check.h"

namespace tenon {
namespace {

void expect(bool condition, const char* what) {
  TENON_CHECK(condition, ErrorCode::kInternal, "[batch] {}", what);
}

void verify_offsets(const std::vector<std::int32_t>& begin, std::size_t sequences,
                    const char* what) {
  expect(begin.size() == sequences + 1 && begin.front() == 0, what);
  for (std::size_t s = 0; s < sequences; ++s) expect(begin[s] <= begin[s + 1], what);
}

}  // namespace

void verify(const Batch& batch) {
  const std::size_t sequences = batch.slots.size();
  const std::int64_t tokens = batch.tokens();
  verify_offsets(batch.token_begin, sequences, "token_begin is not [S + 1] ascending from 0");
  expect(batch.token_begin.back() == tokens, "token_begin does not end at the token count");
  expect(batch.positions.size() == batch.token_ids.size(), "positions are not one a token");
  expect(batch.cached_tokens.size() == sequences, "cached_tokens are not one a sequence");
  expect(batch.sequence_length.size() == sequences, "sequence_length is not one a sequence");
  expect(batch.sample_row.size() == sequences, "sample_row is not one a sequence");
  for (std::size_t s = 0; s < sequences; ++s) {
    const std::int32_t row = batch.sample_row[s];
    expect(batch.slots[s] >= 0, "a slot is negative");
    expect(batch.cached_tokens[s] >= 0, "cached_tokens are negative");
    expect(row >= -1 && row < static_cast<std::int64_t>(batch.logit_rows.size()),
           "sample_row names no logit row");
  }
  for (const std::int32_t row : batch.logit_rows)
    expect(row >= 0 && row < tokens, "logit_rows name a token that is not there");
  for (const std::int32_t id : batch.token_ids)
    expect(id >= 0 || id == kLastSampledToken, "a token id is negative");
  for (const std::int32_t position : batch.positions)
    expect(position >= 0, "a position is negative");
  if (!batch.encoder_begin.empty())
    verify_offsets(batch.encoder_begin, sequences, "encoder_begin is not [S + 1] ascending from 0");
  for (const SlotUpdate& update : batch.updates) {
    expect(update.slot >= 0, "an updated slot is negative");
    for (const BlockTableChange& change : update.tables)
      expect(change.group >= 0 && change.begin >= 0, "a table change has a negative index");
  }
}

}  // namespace tenon
