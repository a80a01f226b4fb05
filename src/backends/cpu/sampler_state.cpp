// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/sampler_state.h"

#include <algorithm>

#include "core/check.h"

namespace tenon::cpu {

void SamplingState::settle() {
  const bool use = looks_at_use(params);
  const bool order = looks_at_order(params);
  const bool fresh = history.prompt_tokens == 0 && history.output_tokens == 0;
  TENON_CHECK(fresh || ((history.keeps_use || !use) && (history.keeps_order || !order)),
              ErrorCode::kInternal,
              "[sampler] {} tokens went by without the history that the parameters need",
              history.prompt_tokens + history.output_tokens);
  history.keeps_use = use;
  history.keeps_order = order;
  if (!use) history.use.clear();
  if (!order) history.order.clear();
}

void SamplingState::add_prompt(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    if (history.keeps_use && history.prompt_tokens >= params.prompt_ignore_length)
      history.use[token];
    ++history.prompt_tokens;
  }
  if (history.keeps_order) history.order.insert(history.order.end(), tokens.begin(), tokens.end());
}

void SamplingState::record(std::int32_t token) {
  ++history.output_tokens;
  history.since_reset = params.top_p_reset_id == token ? 0 : history.since_reset + 1;
  if (history.keeps_use) ++history.use[token].outputs;
  if (history.keeps_order) history.order.push_back(token);
}

}  // namespace tenon::cpu
