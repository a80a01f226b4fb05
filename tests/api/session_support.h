// Sessions of random models, and batches for them, without an executor between.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "api/model_source.h"
#include "engine/session.h"

namespace tenon::test {

inline PretrainedConfig random_config(std::int64_t hidden = 64, std::int64_t layers = 2,
                                      std::int64_t vocab = 96) {
  PretrainedConfig config;
  config.architecture = "LlamaForCausalLM";
  config.vocab_size = vocab;
  config.hidden_size = hidden;
  config.num_hidden_layers = layers;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_size = hidden / 4;
  config.intermediate_size = hidden * 2;
  config.max_position_embeddings = 4096;
  return config;
}

inline SessionOptions small_options() {
  SessionOptions options;
  options.threads = 2;
  options.pin = false;
  options.max_step_tokens = 128;
  options.max_sequences = 4;
  options.max_sequence_length = 256;
  return options;
}

inline std::unique_ptr<Session> load_random(const PretrainedConfig& config,
                                            const SessionOptions& options) {
  const ModelSource source = random_model_source(config, 7);
  return Session::load(build_graphs(source, BuildConfig{}), source.weights, options);
}

/// One sequence's part of a step.
struct Rows {
  std::int32_t slot = 0;
  std::int32_t cached = 0;
  std::vector<std::int32_t> tokens;
};

/// A fresh sequence in `slot` with `blocks` in every cache group, sampled greedily.
inline SlotUpdate start_slot(const Session& session, std::int32_t slot,
                             const std::vector<std::int32_t>& blocks) {
  SlotUpdate update{.slot = slot, .reset = true};
  for (std::size_t group = 0; group < session.cache_groups().size(); ++group)
    update.tables.push_back(
        {.group = static_cast<std::int32_t>(group), .begin = 0, .blocks = blocks});
  update.sampling = SamplingParams{};
  update.sampling->temperature = 0.0F;
  update.sampling->seed = 1;
  return update;
}

/// Blocks [first, first + count).
inline std::vector<std::int32_t> blocks_from(std::int32_t first, std::int32_t count) {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(count));
  std::iota(blocks.begin(), blocks.end(), first);
  return blocks;
}

/// Each sequence samples from its last token.
inline Batch batch_of(const std::vector<Rows>& rows, std::vector<SlotUpdate> updates = {}) {
  Batch batch;
  batch.updates = std::move(updates);
  batch.token_begin = {0};
  for (const Rows& r : rows) {
    const auto count = static_cast<std::int32_t>(r.tokens.size());
    batch.slots.push_back(r.slot);
    batch.cached_tokens.push_back(r.cached);
    batch.sequence_length.push_back(r.cached + count);
    for (std::int32_t i = 0; i < count; ++i) {
      batch.token_ids.push_back(r.tokens[static_cast<std::size_t>(i)]);
      batch.positions.push_back(r.cached + i);
    }
    batch.token_begin.push_back(batch.token_begin.back() + count);
    batch.sample_row.push_back(static_cast<std::int32_t>(batch.logit_rows.size()));
    batch.logit_rows.push_back(batch.token_begin.back() - 1);
  }
  return batch;
}

inline std::shared_ptr<StepHandle> issue(Session& session, const Batch& batch) {
  session.prepare(batch);
  session.forward();
  return session.sample({});
}

}  // namespace tenon::test
