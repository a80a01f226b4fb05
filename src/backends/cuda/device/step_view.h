// StepView: what kernels read of the step on the device. The addresses are the same in every step,
// so that recorded launches can be replayed; the contents change.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace tenon::cuda {

/// A launch covers StepSizes rows (StepContext::sizes), which may be more than the step has: the
/// rows past it are padding. A padded token has id 0, position 0, sequence -1; a padded sequence
/// has slot -1, no tokens and sample_row -1; a padded logit row names token 0. Kernels may compute
/// anything on padding, but write nothing of it to cache or slots.
struct StepView {
  // [T]
  const std::int32_t* token_ids = nullptr;  ///< kLastSampledToken already resolved
  const std::int32_t* positions = nullptr;
  const std::int32_t* token_sequence = nullptr;  ///< which sequence of the step; -1: padding
  // [S]
  const std::int32_t* slots = nullptr;
  const std::int32_t* token_begin = nullptr;  ///< [S + 1]
  const std::int32_t* cached_tokens = nullptr;
  const std::int32_t* sequence_length = nullptr;
  const std::int32_t* sample_row = nullptr;
  const std::int32_t* encoder_begin = nullptr;  ///< [S + 1]
  // [L]
  const std::int32_t* logit_rows = nullptr;
};

}  // namespace tenon::cuda
